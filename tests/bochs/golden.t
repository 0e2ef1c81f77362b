#!/bin/sh
# SPDX-License-Identifier: MIT
# tests/golden/train.t with FT_CPU=avx512 on a processor that Bochs emulates instruction by instruction: Debian's kernel from
# a CD image, with the programs, their libraries and busybox in its initial file system; the test's output comes back over
# the serial line. Some minutes on an idle core. `make check-avx512-bochs` brings what this needs.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$FT_BUILD/bochs
guest=$work/guest
rm -rf "$guest" "$work/cd" "$work/serial"
mkdir -p "$work/cd" "$guest/bin" "$guest/proc" "$guest/dev" "$guest/tmp" "$guest/ft/tests" "$guest/ft/build/tests/helper" "$guest/ft/build/bin"
cd "$work"

set -- ./boot/vmlinuz-*
if [ ! -e "$1" ]; then
    apt-get -q download "$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: //p')" >&2
    for package in linux-image-*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x ./boot; done
    set -- ./boot/vmlinuz-*
fi
cp "$1" cd/linux

cp /bin/busybox "$guest/bin/"
cp -r "$root/tests/golden" "$root/tests/tap" "$guest/ft/tests/"
cp "$FT_BIN/ft-train" "$guest/ft/build/bin/"
cp "$FT_BUILD/tests/helper/make-ftok" "$guest/ft/build/tests/helper/"
for library in $(ldd "$FT_BIN/ft-train" | grep -o '/lib[^ ]*'); do
    mkdir -p "$guest${library%/*}"
    cp -L "$library" "$guest$library"
done
strip "$guest/ft/build/bin/ft-train" "$guest/ft/build/tests/helper/make-ftok"
cat >"$guest/init" <<'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1 </dev/null
FT_CPU=avx512 FT_BIN=/ft/build/bin FT_BUILD=/ft/build sh /ft/tests/golden/train.t
poweroff -f
END
chmod +x "$guest/init"
(cd "$guest" && find . | cpio -o -H newc -R 0:0 --quiet) >cd/initrd
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 cd/
# With compacted states (XSAVES, XSAVEC) the kernel finds Bochs's sizes wrong and does without AVX.
cat >cd/isolinux.cfg <<'END'
default ft
label ft
 kernel /linux
 append initrd=/initrd console=ttyS0 quiet mitigations=off nosmp clearcpuid=321,323
END
genisoimage -quiet -R -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table -o cd.iso cd

cat >bochsrc <<'END'
cpu: model=corei7_skylake_x, count=1, ips=50000000
memory: guest=512, host=512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
display_library: rfb, options="timeout=0"
ata0-master: type=cdrom, path=cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=serial
log: bochs.log
panic: action=fatal
END
echo c >continue # Debian's Bochs starts in its debugger
bochs-bin -q -f bochsrc -rc continue >bochs.out 2>&1 </dev/null || true
tr -d '\r' <serial | grep -aE '^(ok|not ok|1\.\.|#)'
