#!/usr/bin/env bash
# check-layers.sh - fail if a folder of the library uses a folder that it may not
# use, by an include or by a symbol, and if folders use each other in a circle.
#
# The rule is the table below: folder, then the library folders it may use.  The
# check of symbols reads the objects in $BUILD: a function of tlp.h has no private
# header, so includes do not show who calls it.
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
    lib/eval) echo base file text model session eval ;;
    lib/tune) echo base tensor file model plan comm cost stats rank session tune ;;
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
# Lines "user definer symbol", of symbols that another folder defines.
list_calls() {
    local source object folder
    for source in lib/*/*.c; do
        object=${BUILD:-build}/${source%.c}.o
        folder=${source#lib/}
        [ -f "$object" ] || continue # mpi/ may not be built
        nm "$object" | sed "s|^|${folder%/*} |"
    done | awk '
        { type = $(NF - 1); symbol = $NF }
        symbol !~ /^tlpi?_/ { next }
        type == "U" { used[$1 " " symbol] = 1; next }
        type ~ /[A-Z]/ { home[symbol] = $1 }
        END {
            for (use in used) {
                split(use, a, " ")
                if (a[2] in home && home[a[2]] != a[1])
                    print a[1], home[a[2]], a[2]
            }
        }' | sort
}

calls=$(list_calls)
if [ -z "$calls" ]; then
    echo "${BUILD:-build}: no objects of the library: run make"
    exit 1
fi
while read -r user definer symbol; do
    [[ " $(allowed "lib/$user") " == *" $definer "* ]] && continue
    echo "lib/$user must not use $symbol of lib/$definer"
    bad=1
done <<<"$calls"
if ! cut -d' ' -f1,2 <<<"$calls" | sort -u | tsort >/dev/null; then
    echo 'folders use each other in a circle'
    bad=1
fi
[ $bad -eq 0 ] && echo 'layers: clean'
exit $bad
