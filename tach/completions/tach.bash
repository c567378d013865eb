# Completion of tach for bash. Made by: tach --completion bash
# Load it from ~/.bashrc: eval "$(tach --completion bash)"

_tach_subcommand() {
    options='' valued='' places=PROGRAM
    case $1 in
# @commands@
    esac
}

# Adds what is meant by a word of the usage, such as CONFIG, and begins like $2.
_tach_add() {
    local found=()
    case $1 in
    CONFIG)
        mapfile -t found < <(compgen -f -X '!*.yaml' -- "$2"; compgen -f -X '!*.yml' -- "$2"; compgen -d -- "$2")
        compopt -o filenames 2>/dev/null
        ;;
    PID) mapfile -t found < <(compgen -W "$(tach --completion pids 2>/dev/null | cut -f1)" -- "$2") ;;
    PROGRAM)
        mapfile -t found < <(compgen -c -- "$2"; compgen -f -- "$2")
        compopt -o filenames 2>/dev/null
        ;;
    FILE | SPOOL | A | B)
        mapfile -t found < <(compgen -f -- "$2")
        compopt -o filenames 2>/dev/null
        ;;
    *,*) mapfile -t found < <(compgen -W "${1//,/ }" -- "$2") ;;
    esac
    COMPREPLY+=("${found[@]}")
}

# The rest of the line belongs to the program that is word $1.
_tach_program() {
    if declare -F _command_offset >/dev/null; then
        _command_offset "$1"
        return
    fi
    local program=${COMP_WORDS[$1]} how
    how=$(complete -p -- "${program##*/}" 2>/dev/null)
    if [[ $how =~ \ -F\ ([^ ]+) ]]; then
        COMP_WORDS=("${COMP_WORDS[@]:$1}")
        ((COMP_CWORD -= $1))
        COMP_LINE=${COMP_WORDS[*]}
        COMP_POINT=${#COMP_LINE}
        "${BASH_REMATCH[1]}" "$program" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    else
        _tach_add FILE "${COMP_WORDS[COMP_CWORD]}"
    fi
}

_tach() {
    COMPREPLY=()
    local current=${COMP_WORDS[COMP_CWORD]} options valued places
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W "$(_tach_words)" -- "$current")
        [[ $current == -* ]] || _tach_add CONFIG "$current"
        return
    fi
    if [[ ${COMP_WORDS[1]} == --completion ]]; then
        _tach_add bash,fish,zsh "$current"
        return
    fi
    _tach_subcommand "${COMP_WORDS[1]}"
    local -a left
    read -ra left <<<"$places"
    local index word value=''
    for ((index = 2; index < COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        if [[ -n $value ]]; then
            value=''
        elif [[ $word == -[mc] && ${left[0]} == PROGRAM ]]; then
            _tach_add FILE "$current" # of a module or a code nothing is known
            return
        elif [[ $word == -* ]]; then
            value=$(_tach_value "$word")
        elif [[ ${left[0]} == PROGRAM ]]; then
            _tach_program "$index"
            return
        else
            left=("${left[@]:1}")
        fi
    done
    if [[ -n $value ]]; then
        _tach_add "$value" "$current"
    elif [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
    else
        _tach_add "${left[0]}" "$current"
    fi
}

# What follows the option $1, if anything does.
_tach_value() {
    local each
    for each in $valued; do
        [[ ${each%%=*} == "$1" ]] && echo "${each#*=}"
    done
}

_tach_words() {
    echo @names@ --help --version --completion --schema
}

complete -F _tach tach
