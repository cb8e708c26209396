# shellcheck shell=bash
# Sourced by gui/run and tests/run: finds what this machine lacks, asks once, installs it with apt.
# Nothing is asked, downloaded or done as root when everything is here already.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$top/target}")
if [ -n "${CARGO_TARGET_DIR:-}" ]; then export CARGO_TARGET_DIR=$target; fi
PATH=$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin # rustup before a new login; ldconfig for people who are not root
packages=() reasons=()

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold="" plain=""; fi
say() { printf '%s\n' "$bold==> $*$plain"; }
note() { printf '    %s\n' "$*"; }
die() {
  printf '\n' >&2
  printf '%s\n' "$@" >&2
  exit 1
}

# want PACKAGE WHY CHECK...: the package is missing when its check fails.
want() {
  local package=$1 why=$2
  shift 2
  if ! "$@" >/dev/null 2>&1; then
    packages+=("$package")
    reasons+=("$why")
  fi
}

# Tools for root are not on everybody's path.
has_command() { PATH=$PATH:/usr/sbin:/sbin type -P "$1"; }
has_library() { [[ ${libraries:=$(ldconfig -p)} == *"$1 "* ]]; }
has_certificates() { [ -n "${SSL_CERT_FILE:-}${CARGO_HTTP_CAINFO:-}" ] || [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ]; }
compiles() { printf 'int main() { return 0; }' | "$1" -x "$2" -o /dev/null -; }
makes_venvs() { python3 -c 'import ensurepip, venv'; }
has_display() { [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; }

want_build_tools() {
  want gcc "compiles Opus, the voice codec, and AWS-LC, which carries QUIC" compiles cc c
  want g++ "compiles a part of them, and brings the C headers" compiles c++ c++
  want make "builds Opus" has_command make
  want cmake "configures Opus" has_command cmake
  want pkg-config "finds the sound library" has_command pkg-config
  want libasound2-dev "microphones and headphones" pkg-config --exists alsa
  want ca-certificates "checks whom the Rust crates are fetched from" has_certificates
}

want_window_libraries() {
  want libx11-6 "the window" has_library libX11.so.6
  want libx11-xcb1 "the window" has_library libX11-xcb.so.1
  want libxcursor1 "the mouse pointer" has_library libXcursor.so.1
  want libxi6 "mouse, touch and pen" has_library libXi.so.6
  want libxkbcommon-x11-0 "the keyboard" has_library libxkbcommon-x11.so.0
  want libgl1 "draws the window" has_library libGL.so.1
  want libegl1 "draws it under Wayland, and in the tests" has_library libEGL.so.1
}

want_test_tools() {
  want python3 "a foreign library (Python's cwt) checks our signatures" has_command python3
  want python3-venv "keeps that library apart from your own Python" makes_venvs
  want pulseaudio "an imaginary microphone and headphones for the tests" has_command pulseaudio
  want pulseaudio-utils "speaks into them and listens" has_command pactl
  want procps "takes devices and processes away in the middle" has_command kill
  has_display || want xvfb "a screen for the tests, as there is none here" has_command Xvfb
}

want_network_tools() {
  want iproute2 "a small Internet on this machine, to try relays and routers in" has_command ip
  want nftables "routers that hide who is behind them" has_command nft
  want tcpdump "looks at what passes there" has_command tcpdump
  want procps "sets those routers up" has_command sysctl
}

# Says what is missing and why, asks once, installs. Without a terminal, or with CI=true or UNDERTONE_YES=1, the answer is yes.
install_wanted() {
  [ ${#packages[@]} -gt 0 ] || return 0
  local i answer root=() log=$target/setup.log
  say "Undertone needs a few things that are not on this machine:"
  for i in "${!packages[@]}"; do printf '    %-20s %s\n' "${packages[i]}" "${reasons[i]}"; done
  command -v apt-get >/dev/null ||
    die "There is no apt here to install them with. Please install what does the same with this system's own tool, and start again."
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "That needs root, and there is no sudo. Please run this as root, and start again:" \
      "  apt-get install --no-install-recommends ${packages[*]}"
    root=(sudo)
  fi
  if [ -t 0 ] && [ "${CI:-}" != true ] && [ "${UNDERTONE_YES:-}" != 1 ]; then
    read -r -p "    Install them now${root:+ through sudo}, from your system's own package archive? [Y/n] " answer || answer=n
    [[ -z $answer || $answer == [Yy]* ]] || die "Nothing was installed. Undertone can't be built without them."
  fi
  note "Installing, about a minute (details in $log) …"
  mkdir -p "$target"
  # One unreachable archive among several is no reason to stop: the install tells.
  "${root[@]}" apt-get update >"$log" 2>&1 || true
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}" >>"$log" 2>&1 </dev/null ||
    die "$(tail -n 15 "$log")" "" "apt could not install them: the end of $log is above. Is the network there?"
  packages=() reasons=() libraries=
}

# Cargo at the version this workspace pins, or, where that can't be fetched, a newer one that is here.
want_rust() {
  command -v cargo >/dev/null || die "Undertone is written in Rust, and there is no cargo on this machine." \
    "Install it as https://rustup.rs describes (two minutes, no root), and start again."
  cd "$top" || exit
  cargo --version >/dev/null 2>&1 && return
  local pinned
  pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
  # Again and aloud: rustup fetches the pinned version now, or says why not.
  cargo --version && return
  RUSTUP_TOOLCHAIN=stable cargo --version >/dev/null 2>&1 ||
    die "Rust $pinned is not here and could not be fetched: see above. 'rustup toolchain install $pinned' does it by hand."
  export RUSTUP_TOOLCHAIN=stable
  note "Rust $pinned could not be fetched; going on with $(cargo --version)."
}
