#!/bin/sh
# clean_root.sh ROOT FIRST SECOND: installs the package FIRST into a clean Debian, starts a daemon by it, installs
# SECOND over it while that one holds, removes and purges it. Run in namespaces of its own (mounts, network,
# processes): whatever it started or mounted ends with it. ROOT is not changed.
set -eu
root=/mnt/root
mount -t tmpfs work /mnt
mkdir /mnt/upper /mnt/work "$root"
mount -t overlay -o "lowerdir=$1,upperdir=/mnt/upper,workdir=/mnt/work" overlay "$root"
cp "$2" "$root/first.deb"
cp "$3" "$root/second.deb"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sys "$root/sys"
mount -t tmpfs run "$root/run"

in_root() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }
names() { (cd "$root" && find etc home opt root run srv usr var -xdev) | LC_ALL=C sort; }
say() { echo "== $*"; }
die() {
    echo "WRONG: $*"
    exit 1
}
daemons() {
    for process in /proc/[0-9]*; do
        case $(readlink "$process/exe" || true) in */onehold*) echo "${process#/proc/}" ;; esac
    done
}

names >/mnt/before
say install
in_root dpkg --install /first.deb
[ -z "$(daemons)" ] || die "the installation started a daemon"
in_root getent group onehold >/dev/null || die "there is no group onehold"
in_root getent passwd onehold-witness >/dev/null || die "there is no user onehold-witness"
[ -d "$root/etc/onehold" ] || die "there is no /etc/onehold"
! in_root systemctl is-enabled onehold.service || die "the unit is enabled"
for unit in onehold onehold-agent onehold-witness onehold@web onehold-agent@web; do
    in_root systemd-analyze verify --man=no "$unit.service" 2>&1 || die "$unit.service"
done

say "a daemon holds"
ip link set lo up
ip link add eth0 type veth peer name other
ip link set eth0 up
ip link set other up
ip address add 10.0.0.10/24 dev eth0
in_root onehold secret
cat >"$root/etc/onehold/onehold.toml" <<'END'
[cluster]
name = "clean-root"
secret_file = "/etc/onehold/secret"
arbitration = "survivor"
[members.lb0]
addresses = ["10.0.0.10"]
preferred = true
[members.lb1]
addresses = ["10.0.0.11"]
[groups.web]
addresses = ["10.0.0.50/24"]
interface = "eth0"
END
in_root onehold check --for lb0
chroot "$root" /usr/bin/onehold run --as lb0 --config /etc/onehold/onehold.toml >/mnt/log 2>&1 &
daemon=$!
tries=0
until in_root onehold holds web >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { cat /mnt/log; die "nobody holds"; }
    sleep 0.2
done

say "upgrade, while it holds"
in_root dpkg --install /second.deb
in_root onehold holds web || die "it does not hold any more"
[ "$(daemons)" = "$daemon" ] || die "another process than $daemon: $(daemons)"
case $(readlink "/proc/$daemon/exe") in *deleted*) ;; *) die "it runs the new file" ;; esac

say "remove"
kill "$daemon"
wait "$daemon" || die "it ended with $?"
in_root dpkg --remove onehold
[ -f "$root/etc/onehold/onehold.toml" ] || die "a removal took the configuration"
[ ! -e "$root/usr/bin/onehold" ] || die "the binary is still there"

say purge
in_root dpkg --purge onehold
names >/mnt/after
# What dpkg and the user's entry leave behind, and nothing of this package.
left=$(comm -13 /mnt/before /mnt/after | grep -v -E '^(etc/(passwd|group|shadow|gshadow)-|etc/\.pwd\.lock|var/lib/dpkg/.*-old|var/log/.*|run/systemd.*)$' || true)
[ -z "$left" ] || die "the purge left: $left"
say "all is well"
