#!/bin/sh
# Installs retraind, or removes it again:
#
#   ops/install.sh [--prefix DIR] [--destdir DIR] [--binary FILE]
#   ops/install.sh --uninstall [--prefix DIR] [--destdir DIR]
#
#   --prefix DIR     where it goes (default: /usr/local)
#   --destdir DIR    put before every path, as packagers need it (default: $DESTDIR); nothing outside of it is touched
#   --binary FILE    the program (default: what `make build` built; built now where there is none)
#
#   PREFIX/bin/retraind
#   PREFIX/lib/retraind/            the ONNX Runtime library
#   PREFIX/lib/systemd/system/      the unit
#   PREFIX/lib/sysusers.d/          the user that it runs as
#   PREFIX/share/                   manual pages, completions of bash, zsh and fish, sample settings and jobs
#   /etc/retraind/                  settings and jobs, only for the prefixes /usr and /usr/local, only by who may
#   /var/lib/retraind/              data, state, versions and runs
#
# As often as one likes: what is there and right is left alone. What stands in /etc/retraind is yours once you have edited or
# deleted it: a newer sample is then put beside it, as FILE.new, and said. Nothing is started or stopped.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
prefix=/usr/local
destdir=${DESTDIR:-}
binary=
action=install
# The jobs that are shipped; a checkout may hold others.
jobs="weekly-retrain.toml data-volume-retrain.toml evaluation.toml examples/exec.toml"
user=retraind

main() {
    options "$@"
    # What was installed, one "SHA256  PATH" a line: what an uninstallation removes, and how an edited file is known.
    record=$destdir$prefix/share/retraind/installed
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    : >"$scratch/record"
    $action
}

options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix | --destdir | --binary) [ $# -ge 2 ] || usage; set_option "$1" "$2"; shift 2 ;;
            --prefix=* | --destdir=* | --binary=*) set_option "${1%%=*}" "${1#*=}"; shift ;;
            --uninstall) action=uninstall; shift ;;
            -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
            *) usage ;;
        esac
    done
    prefix=$(absolute --prefix "$prefix")
    [ -z "$destdir" ] || destdir=$(absolute --destdir "$destdir")
    [ "$destdir" != / ] || destdir=
}

set_option() {
    case $1 in
        --prefix) prefix=$2 ;;
        --destdir) destdir=$2 ;;
        --binary) binary=$2 ;;
    esac
}

absolute() {
    case $2 in
        *[!A-Za-z0-9/._+~@:-]*) fail "$1 $2 holds characters that a systemd unit cannot take" "use letters, digits and ._+~@:-/ only" ;;
        / | /*[!/]) printf '%s' "$2" ;;
        /*/) absolute "$1" "${2%/}" ;;
        *) fail "$1 $2 is not an absolute path" "write it out: $1 $PWD/$2" ;;
    esac
}

usage() {
    echo "usage: ops/install.sh [--uninstall] [--prefix DIR] [--destdir DIR] [--binary FILE]" >&2
    exit 2
}

install() {
    find_binary
    mkdir -p "$destdir$prefix" 2>/dev/null && [ -w "$destdir$prefix" ] ||
        fail "$destdir$prefix cannot be written to" "run this as root (sudo make install), or choose --prefix \"\$HOME/.local\""
    # The library first: it may have to be downloaded, and a program without it would be a broken installation.
    "$here/ops/fetch-onnxruntime" --to "$destdir$prefix/lib/retraind" >/dev/null
    for file in "$destdir$prefix"/lib/retraind/libonnxruntime.so*; do
        note "${file#"$destdir"}"
    done
    put 755 "$binary" "$prefix/bin/retraind"
    manual_and_completions
    service
    samples
    settings
    put 644 "$scratch/record" "$prefix/share/retraind/installed"
    printf 'installed retraind into %s; next: retraind doctor, then systemctl enable --now retraind\n' "$destdir$prefix"
}

find_binary() {
    if [ -z "$binary" ]; then
        binary=${CARGO_TARGET_DIR:-$here/target}/release/retraind
        if [ ! -x "$binary" ]; then
            command -v cargo >/dev/null ||
                fail "there is no $binary" "run \`make build\` first, as the user who develops, or name one with --binary FILE"
            echo "  building $binary"
            (cd "$here" && cargo build --release --locked --quiet)
        fi
    fi
    "$binary" --version >/dev/null 2>&1 ||
        fail "$binary does not run here" "name the program of retraind with --binary FILE"
}

manual_and_completions() {
    "$binary" man "$scratch/man" >/dev/null
    for page in "$scratch"/man/*.[1-8]; do
        put 644 "$page" "$prefix/share/man/man${page##*.}/${page##*/}"
    done
    completions bash bash-completion/completions/retraind
    completions zsh zsh/site-functions/_retraind
    completions fish fish/vendor_completions.d/retraind.fish
}

completions() {
    "$binary" completions "$1" >"$scratch/completions"
    put 644 "$scratch/completions" "$prefix/share/$2"
}

service() {
    sed "s|/usr/local/|$prefix/|g" "$here/ops/retraind.service" >"$scratch/retraind.service"
    put 644 "$scratch/retraind.service" "$prefix/lib/systemd/system/retraind.service"
    put 644 "$here/ops/sysusers.conf" "$prefix/lib/sysusers.d/retraind.conf"
    if ! in_usr; then
        echo "  systemd does not look there: systemctl link $prefix/lib/systemd/system/retraind.service"
    fi
}

samples() {
    put 644 "$here/ops/retraind.toml" "$prefix/share/retraind/retraind.toml"
    put 644 "$here/ops/README.md" "$prefix/share/retraind/README.md"
    put 644 "$here/ops/JOBS.md" "$prefix/share/retraind/JOBS.md"
    for job in $jobs; do
        put 644 "$here/jobs/$job" "$prefix/share/retraind/jobs/$job"
    done
}

settings() {
    # A prefix of one's own is for trying things out: it must not change what other programs on this host find in /etc.
    in_usr || return 0
    if ! mkdir -p "$destdir/etc/retraind/jobs" 2>/dev/null || [ ! -w "$destdir/etc/retraind" ]; then
        echo "  $destdir/etc/retraind cannot be written to: settings and jobs stay in $destdir$prefix/share/retraind"
        return 0
    fi
    state_directory
    # What an installation changes: jobs are edited beside the settings, data does not follow the working directory.
    sed -e 's|^#dir = "jobs"$|dir = "/etc/retraind/jobs"|' -e 's|^#dir = "models"$|dir = "/var/lib/retraind/models"|' \
        -e 's|^#dir = "runs"$|dir = "/var/lib/retraind/runs"|' \
        -e 's|^#url = "sqlite://retraind.db"$|url = "sqlite:///var/lib/retraind/retraind.db"|' \
        -e 's|^#url = "sqlite://data.db"$|url = "sqlite:///var/lib/retraind/data.db"|' \
        "$here/ops/retraind.toml" >"$scratch/retraind.toml"
    put_editable "$scratch/retraind.toml" /etc/retraind/retraind.toml
    for job in $jobs; do
        put_editable "$here/jobs/$job" "/etc/retraind/jobs/$job"
    done
}

# The service's user owns its directory; a packager's scripts, or the service's first start, see to it elsewhere.
state_directory() {
    mkdir -p "$destdir/var/lib/retraind"
    [ -z "$destdir" ] && [ "$(id -u)" -eq 0 ] || return 0
    if ! id "$user" >/dev/null 2>&1; then
        if command -v systemd-sysusers >/dev/null; then
            systemd-sysusers "$prefix/lib/sysusers.d/retraind.conf"
        else
            useradd --system --user-group --home-dir /var/lib/retraind --shell /usr/sbin/nologin "$user"
        fi
        echo "  made the user $user"
    fi
    chown "$user:$user" /var/lib/retraind
    chmod 750 /var/lib/retraind
}

in_usr() {
    case $prefix in
        /usr | /usr/local) return 0 ;;
        *) return 1 ;;
    esac
}

uninstall() {
    [ -f "$record" ] || fail "there is no $record, so it is not known what was installed" "name the --prefix and --destdir of the installation"
    if [ -z "$destdir" ] && command -v systemctl >/dev/null && systemctl --quiet is-active retraind 2>/dev/null; then
        fail "the service is running" "systemctl disable --now retraind, then run this again"
    fi
    while read -r sum path; do
        if [ ! -e "$destdir$path" ]; then
            continue
        fi
        case $path in
            /etc/*)
                if [ "$(sum_of "$destdir$path")" != "$sum" ]; then
                    echo "  kept, since it was edited: $destdir$path"
                    continue
                fi
                ;;
        esac
        rm -f "$destdir$path"
        prune "${path%/*}"
    done <"$record"
    rm -f "$record"
    prune "$prefix/share/retraind"
    prune /etc/retraind/jobs
    echo "removed retraind from $destdir$prefix; kept: $destdir/var/lib/retraind and the user $user"
}

# prune DIR: removes empty directories of ours upwards; those of others (bin, share, …) stay.
prune() {
    dir=$1
    while :; do
        case $dir in
            */retraind | */retraind/*) rmdir "$destdir$dir" 2>/dev/null || return 0 ;;
            *) return 0 ;;
        esac
        dir=${dir%/*}
    done
}

# put MODE FILE PATH: by a rename, so that a program that is running, or read meanwhile, stays whole.
put() {
    note_sum "$2" "$3"
    target=$destdir$3
    if cmp -s "$2" "$target" && [ "$(stat -c %a "$target")" = "$1" ]; then
        return 0
    fi
    mkdir -p "${target%/*}"
    # what belongs to the program is replaced, and nothing of yours is lost with it
    ours=$(recorded "$3")
    if [ "$1" = 644 ] && [ "$target" != "$record" ] && [ -n "$ours" ] && [ -e "$target" ] && [ "$(sum_of "$target")" != "$ours" ]; then
        cp -p "$target" "$target.edited"
        echo "  replaced, though it was edited: $target; yours is $target.edited"
    fi
    cp "$2" "$target.new"
    chmod "$1" "$target.new"
    mv -f "$target.new" "$target"
    printf '  %s\n' "$target"
}

# put_editable FILE PATH: unless somebody has edited or deleted what was put there before.
put_editable() {
    target=$destdir$2
    before=$(recorded "$2")
    if [ ! -e "$target" ] && [ -z "$before" ]; then
        put 644 "$1" "$2"
    elif [ ! -e "$target" ]; then
        echo "  stays deleted: $target"
        printf '%s  %s\n' "$before" "$2" >>"$scratch/record"
    elif [ "$(sum_of "$target")" = "$before" ]; then
        put 644 "$1" "$2"
    elif cmp -s "$1" "$target"; then
        note_sum "$1" "$2"
    else
        # edited: the sum of what is shipped now is kept, so that the same sample is put beside it only once
        note_sum "$1" "$2"
        if [ "$(sum_of "$1")" != "$before" ]; then
            cp "$1" "$target.new"
            chmod 644 "$target.new"
            echo "  kept, since it was edited: $target; the sample of this version is $target.new"
        fi
    fi
}

recorded() {
    [ -f "$record" ] || return 0
    awk -v path="$1" '$2 == path { print $1 }' "$record"
}

note() {
    note_sum "$destdir$1" "$1"
}

note_sum() {
    printf '%s  %s\n' "$(sum_of "$1")" "$2" >>"$scratch/record"
}

sum_of() {
    sha256sum "$1" | cut -d ' ' -f 1
}

fail() {
    printf 'error: failed to %s: %s\n  help: %s\n' "$action" "$1" "$2" >&2
    exit 1
}

main "$@"
