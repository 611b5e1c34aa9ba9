#!/usr/bin/env bash
# Draws the pictures of the operations dashboard that the documents show: `make pictures`. Needs Chromium and optipng.
# The fault's name is left out, so that readers can try to guess it from the picture.
set -euo pipefail

command=$1
images=$(cd "$(dirname "$0")" && pwd)
cd "$images/../.."
pages=$(mktemp -d)
trap 'rm -rf "$pages"' EXIT

# NAME, and the arguments of `config-audit dashboards`. The picture ends before "Why not?".
draw() {
  "$command" dashboards --hide-fault --to "$pages" "${@:2}" >/dev/null
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --disable-lcd-text --user-data-dir="$pages/profile" \
    --window-size=1280,1090 --screenshot="$images/operations-$1.png" "file://$pages/operations.html" 2>/dev/null
  optipng -quiet -o2 "$images/operations-$1.png"
  echo "docs/images/operations-$1.png"
}

draw quiet --rate quiet --after 240
draw busy --rate usual
draw outage --rate usual --fault "access to the table or to its encryption key is denied, or the table is deleted" --after 90
draw mapping-disabled --rate usual --fault "the mapping is disabled" --after 90
