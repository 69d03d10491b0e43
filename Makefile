# guestd: starts, supervises and stops the guests of a Linux host.

CARGO   ?= cargo
PREFIX  ?= /usr
DESTDIR ?=

VERSION = $(shell sed -n '1s/.*(\(.*\)).*/\1/p' debian/changelog)

# Where the programs were built, and what "guestctl generate" makes of them.
TARGET    = $(or $(CARGO_TARGET_DIR),target)
RELEASE   = $(TARGET)/release
GENERATED = $(TARGET)/generated

SBINDIR  = $(DESTDIR)$(PREFIX)/sbin
BINDIR   = $(DESTDIR)$(PREFIX)/bin
LIBDIR   = $(DESTDIR)$(PREFIX)/lib/guestd
MANDIR   = $(DESTDIR)$(PREFIX)/share/man
# Where bus, polkit and systemd look, whatever PREFIX is.
DBUSDIR  = $(DESTDIR)/usr/share/dbus-1
ACTIONS  = $(DESTDIR)/usr/share/polkit-1/actions
UNITDIR  = $(DESTDIR)/lib/systemd/system
TMPFILES = $(DESTDIR)/usr/lib/tmpfiles.d
CATALOG  = $(DESTDIR)/usr/lib/systemd/catalog
UNITS    = guestd.service autostart.service autostart@.service guests-shutdown.service guests.target guest@.service
# How "systemctl reload guestd" works: "notify-reload" where systemd is 253 or newer, else a call on the bus ("notify").
# Older versions take the former for Type=simple, without a word.
SYSTEMD = $(shell systemctl --version 2>/dev/null | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
RELOAD ?= $(if $(shell [ "0$(SYSTEMD)" -ge 253 ] && echo yes),notify-reload,notify)
# Written pages, and what else they are found under.
MAN8      = guestd.8 guest-helper.8 guest-run.8 vshelper.8 autostart.service.8 guest@.service.8
MAN5      = guestd.toml.5 guestd-vserver.5 org.guestd1.5
MAN8LINKS = guestd.service.8 autostart@.service.8 guests-shutdown.service.8
DOCDIR   = $(DESTDIR)$(PREFIX)/share/doc/guestd
BASHDIR  = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
ZSHDIR   = $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions
FISHDIR  = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d

.DEFAULT_GOAL := help
.PHONY: help setup build demo check test torture bench deb generated install uninstall clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Install what building and testing need (Debian, as root)
	@scripts/setup lints

build: ## Build the programs into target/release
	@scripts/setup
	$(CARGO) build --release --locked

demo: ## Start, reboot and stop real containers, and show how (as root)
	@test "$$(id -u)" = 0 || { echo "demo: starting containers needs root; run \"sudo make demo\"" >&2; exit 1; }
	@scripts/setup
	@$(CARGO) build --locked --quiet
	@scripts/demo

check: setup ## Format and lints, warnings denied
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

# The packages that are tested are optimised less than those that are released: that takes minutes, and finds nothing.
test: export CARGO_PROFILE_RELEASE_LTO = off
test: export CARGO_PROFILE_RELEASE_CODEGEN_UNITS = 16
test: check deb ## Everything: format, lints, unit, property, bus, real-container and booted-host tests (as root)
	@scripts/setup vm
	$(CARGO) test --locked

torture: ## Kill guestd at every boundary and 200 random moments, with real containers (as root)
	$(CARGO) test --locked --test torture -- --ignored --nocapture --test-threads=1

bench: deb ## Measure beside the real tools, and print the ratios (as root)
	@scripts/setup bench
	$(CARGO) bench --locked --no-fail-fast

deb: ## Build the Debian packages into target/debian
	@scripts/setup package
	dpkg-buildpackage -b -us -uc -tc
	@mkdir -p $(TARGET)/debian && rm -f $(TARGET)/debian/*.deb
	@mv ../guestd_$(VERSION)_* ../guestd-vshelper_$(VERSION)_* $(TARGET)/debian/
	@ls $(TARGET)/debian/*.deb

generated:
	@test -x "$(RELEASE)/guestctl" || { echo "install: nothing is built yet; run \"make build\" first" >&2; exit 1; }
	@rm -rf "$(GENERATED)"
	@"$(RELEASE)/guestctl" generate "$(GENERATED)"

install: generated ## Install what was built below DESTDIR and PREFIX ("make build" first)
	install -D -m 755 -t "$(SBINDIR)" "$(RELEASE)/guestd"
	install -D -m 755 -t "$(BINDIR)" "$(RELEASE)/autostart" "$(RELEASE)/guestctl"
	install -D -m 755 -t "$(LIBDIR)" "$(RELEASE)/guest-helper" "$(RELEASE)/guest-run"
	install -D -m 644 -t "$(DBUSDIR)/system.d" units/org.guestd1.conf
	install -D -m 644 -t "$(DBUSDIR)/system-services" units/org.guestd1.service
	install -D -m 644 -t "$(DBUSDIR)/interfaces" src/dbus/introspection/*.xml
	install -D -m 644 -t "$(ACTIONS)" units/org.guestd1.policy
	install -D -m 644 -t "$(UNITDIR)" $(addprefix units/,$(UNITS))
	install -D -m 644 -t "$(UNITDIR)/lxc.service.d" units/lxc.service.d/guestd.conf
	install -D -m 644 -t "$(UNITDIR)/lxc-monitord.service.d" units/lxc-monitord.service.d/guestd.conf
	install -D -m 644 units/guestd.tmpfiles "$(TMPFILES)/guestd.conf"
	install -D -m 644 -t "$(CATALOG)" units/guestd.catalog
	install -D -m 644 units/guestd.default "$(DESTDIR)/etc/default/guestd"
	$(if $(filter-out /usr,$(PREFIX)),cd "$(UNITDIR)" && sed -i \
		-e 's|^ExecStart=/usr/sbin/guestd|Environment=GUESTD_GUEST_RUN=$(PREFIX)/lib/guestd/guest-run\n&|' \
		-e 's|^Environment=GUESTD_GUEST_RUN|Environment=GUESTD_HELPER=$(PREFIX)/lib/guestd/guest-helper\n&|' \
		-e 's|=/usr/sbin/guestd|=$(PREFIX)/sbin/guestd|; s#=/usr/bin/\(autostart\|guestctl\)#=$(PREFIX)/bin/\1#' $(UNITS))
	$(if $(filter notify-reload,$(RELOAD)),cd "$(UNITDIR)" && sed -i \
		-e 's/^Type=notify$$/Type=notify-reload/; /^ExecReload=/d' guestd.service)
	install -D -m 644 -t "$(MANDIR)/man1" "$(GENERATED)"/*.1
	install -D -m 644 -t "$(MANDIR)/man5" $(addprefix man/,$(MAN5))
	install -D -m 644 -t "$(MANDIR)/man8" $(addprefix man/,$(MAN8)) "$(GENERATED)"/*.8
	ln -sf guestd.8 "$(MANDIR)/man8/guestd.service.8"
	ln -sf autostart.service.8 "$(MANDIR)/man8/autostart@.service.8"
	ln -sf autostart.service.8 "$(MANDIR)/man8/guests-shutdown.service.8"
	install -D -m 644 "$(GENERATED)/guestctl.bash" "$(BASHDIR)/guestctl"
	install -D -m 644 "$(GENERATED)/autostart.bash" "$(BASHDIR)/autostart"
	install -D -m 644 -t "$(ZSHDIR)" "$(GENERATED)/_guestctl" "$(GENERATED)/_autostart"
	install -D -m 644 -t "$(FISHDIR)" "$(GENERATED)/guestctl.fish" "$(GENERATED)/autostart.fish"
	install -D -m 644 -t "$(DOCDIR)" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE
	install -D -m 644 -t "$(DOCDIR)/examples" examples/guestd.toml examples/watch.rs
	install -D -m 644 -t "$(DOCDIR)/examples/guests" examples/guests/*.toml
	install -D -m 644 -t "$(DOCDIR)/examples/native/guests" examples/native/guests/*.toml
	install -D -m 644 -t "$(DOCDIR)/examples/native/network" examples/native/network/*.toml
	install -D -m 755 -t "$(DOCDIR)/examples" examples/reboot-decision examples/failed-guests
	cp -dR examples/vservers "$(DOCDIR)/examples"
	install -d -m 755 "$(DESTDIR)/etc/guestd/guests"

uninstall: ## Remove what "make install" installed; settings and state stay
	rm -f "$(SBINDIR)/guestd" "$(BINDIR)/autostart" "$(BINDIR)/guestctl"
	rm -f "$(DBUSDIR)/system.d/org.guestd1.conf" "$(DBUSDIR)/system-services/org.guestd1.service"
	rm -f "$(DBUSDIR)/interfaces"/org.guestd1.*.xml "$(ACTIONS)/org.guestd1.policy" "$(TMPFILES)/guestd.conf"
	rm -f "$(CATALOG)/guestd.catalog"
	cd "$(UNITDIR)" && rm -f $(UNITS) lxc.service.d/guestd.conf lxc-monitord.service.d/guestd.conf
	rm -f "$(MANDIR)/man1/guestctl.1" "$(MANDIR)/man1"/guestctl-*.1
	cd "$(MANDIR)/man5" && rm -f $(MAN5)
	cd "$(MANDIR)/man8" && rm -f $(MAN8) $(MAN8LINKS) autostart.8
	rm -f "$(BASHDIR)/guestctl" "$(BASHDIR)/autostart" "$(ZSHDIR)/_guestctl" "$(ZSHDIR)/_autostart"
	rm -f "$(FISHDIR)/guestctl.fish" "$(FISHDIR)/autostart.fish"
	rm -rf "$(LIBDIR)" "$(DOCDIR)"

clean: ## Remove what was built
	$(CARGO) clean
