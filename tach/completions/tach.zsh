#compdef tach
# Completion of tach for zsh. Made by: tach --completion zsh
# Load it from ~/.zshrc, after compinit: eval "$(tach --completion zsh)"
# Or write it into a file _tach in a directory of $fpath.

_tach_subcommand() {
    options='' valued='' places=PROGRAM
    case $1 in
# @commands@
    esac
}

# Adds what is meant by a word of the usage, such as CONFIG.
_tach_add() {
    case $1 in
    CONFIG) _files -g '*.(yaml|yml)' ;;
    PID)
        local -a runs
        runs=(${(f)"$(tach --completion pids 2>/dev/null)"})
        runs=(${runs//$'\t'/:})
        _describe -t pids 'run' runs
        ;;
    PROGRAM) _alternative 'commands:program:_command_names -e' 'files:file:_files' ;;
    FILE | SPOOL | A | B) _files ;;
    *,*) compadd -- ${(s:,:)1} ;;
    esac
}

_tach() {
    local options valued places
    if ((CURRENT == 2)); then
        if [[ $words[2] == -* ]]; then
            compadd -- --help --version --completion --schema
        else
            compadd -- @names@
            _tach_add CONFIG
        fi
        return
    fi
    if [[ $words[2] == --completion ]]; then
        _tach_add bash,fish,zsh
        return
    fi
    _tach_subcommand $words[2]
    local -a left
    left=(${=places})
    local index word value=''
    for ((index = 3; index < CURRENT; index++)); do
        word=$words[index]
        if [[ -n $value ]]; then
            value=''
        elif [[ $word == -[mc] && $left[1] == PROGRAM ]]; then
            _files # of a module or a code nothing is known
            return
        elif [[ $word == -* ]]; then
            value=${${(M)${=valued}:#$word=*}#*=}
        elif [[ $left[1] == PROGRAM ]]; then
            # the rest of the line belongs to the program
            shift $((index - 1)) words
            ((CURRENT -= index - 1))
            _normal
            return
        else
            shift left
        fi
    done
    if [[ -n $value ]]; then
        _tach_add $value
    elif [[ $words[CURRENT] == -* ]]; then
        compadd -- ${=options}
    else
        _tach_add $left[1]
    fi
}

if [[ $funcstack[1] == _tach ]]; then
    _tach "$@"
else
    compdef _tach tach
fi
