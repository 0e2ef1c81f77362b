# SPDX-License-Identifier: MIT
# bash completion for every ft program: the options come from the program itself (ft-x --complete).
_ft() {
    local program=$1 word=$2 previous=$3 table argument
    table=$("$program" --complete 2>/dev/null) || return
    argument=$(printf '%s\n' "$table" | awk -F'\t' -v o="$previous" '$1 == o { print $2; exit }')
    case $previous:$argument in
    -*:*'|'*) mapfile -t COMPREPLY < <(compgen -W "${argument//|/ }" -- "$word") ;;
    -*:DIR*) mapfile -t COMPREPLY < <(compgen -d -- "$word") ;;
    -*:?*) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *)
        if [[ $word == -* ]]; then
            mapfile -t COMPREPLY < <(compgen -W "$(printf '%s\n' "$table" | cut -f1)" -- "$word")
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
        fi
        ;;
    esac
}
complete -o filenames -F _ft ft-lint ft-tokenize ft-split ft-train ft-eval ft-merge ft-generate ft-verify ft-vocab
