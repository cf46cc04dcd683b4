#!/usr/bin/env bash
# check-layers.sh - fail if a file includes what its folder may not.
#
# The rule is the table below: folder, then the library folders it may include.
set -euo pipefail

allowed() {
    case "$1" in
    lib/base) echo base ;;
    lib/tensor) echo base tensor ;;
    lib/file) echo base tensor file ;;
    lib/text) echo base tensor file text ;;
    lib/backend) echo base tensor backend ;;
    lib/stats) echo base backend stats ;;
    lib/model) echo base tensor file text backend model ;;
    lib/plan) echo base tensor file model plan ;;
    lib/comm) echo base tensor comm ;;
    lib/mpi) echo base comm mpi ;;
    lib/device) echo base tensor backend comm device ;;
    lib/rank) echo base tensor model plan backend comm device rank ;;
    lib/cost) echo base tensor model plan backend comm rank cost ;;
    lib/session)
        echo base tensor file model plan backend comm device rank cost session
        ;;
    lib/eval) echo base file text model eval ;;
    lib/tune) echo base file model plan stats rank session tune ;;
    src | examples) echo ;;
    esac
}

bad=0
folders=$(find lib -mindepth 1 -maxdepth 1 -type d | sort)
for folder in $folders src examples; do
    [ -d "$folder" ] || continue
    may=" $(allowed "$folder") "
    while IFS=: read -r file line text; do
        [ -n "$file" ] || continue
        header=${text#*\"}
        header=${header%%\"*}
        module=${header%/*}
        if [ "$module" = "$header" ]; then
            # Without a folder: the public header, or a file beside this one.
            [ "$header" = tlp.h ] || [ -f "$folder/$header" ] && continue
        elif [[ $may == *" $module "* ]]; then
            continue
        fi
        echo "$file:$line: $folder must not include $header"
        bad=1
    done < <(grep -rn '^ *# *include *"' "$folder" --include='*.[ch]' \
        --include='*.cc' --include='*.inc' || true)
done

# The tool and the examples are programs of users: nothing private.
if grep -rnw 'tlpi_[a-z_]*' src examples 2>/dev/null; then
    echo 'src and examples must not use private names'
    bad=1
fi
[ $bad -eq 0 ] && echo 'layers: clean'
exit $bad
