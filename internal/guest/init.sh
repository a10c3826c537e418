#!/bin/busybox sh
# The guest's first process: brings the machine up, runs /command, tells its exit code, and switches the machine off.
/bin/busybox --install -s /busybox
export PATH=/usr/local/bin:/usr/bin:/sbin:/bin:/busybox HOME=/root TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /etc
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o size=80% tmpfs /tmp
ip link set lo up
echo guest >/proc/sys/kernel/hostname
for module in MODULES; do
	modprobe "$module" || echo "no module $module" >/dev/console
done
mount -t configfs configfs /sys/kernel/config
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 share /share || poweroff -f
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000 results /results 2>/dev/null
stty -F /dev/ttyS1 raw -echo
cd /root
setsid /bin/sh /command </dev/null >/dev/ttyS1 2>&1
echo $? >/share/exit
sync
poweroff -f
