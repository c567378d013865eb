# Completion of tach for fish. Made by: tach --completion fish
# Load it: tach --completion fish > ~/.config/fish/completions/tach.fish

# The words before the one that is completed, without tach itself.
function __tach_words
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        echo $word
    end
end

function __tach_first
    test (count (__tach_words)) -eq 0
end

# There is a sub-command or a configuration.
function __tach_begun
    set -l words (__tach_words)
    test (count $words) -ge 1; and not string match -q -- '-*' $words[1]
end

# The sub-command is $argv[1].
function __tach_in
    set -l words (__tach_words)
    test (count $words) -ge 1; and test $words[1] = $argv[1]
end

# Neither a sub-command nor an option: the first word is a configuration.
function __tach_runs
    set -l words (__tach_words)
    test (count $words) -ge 1; or return 1
    not string match -q -- '-*' $words[1]; and not contains -- $words[1] @names@
end

function __tach_configurations
    set -l start (commandline -ct)
    for each in $start*
        if test -d $each
            echo $each/
        else if string match -qr '\.ya?ml$' -- $each
            echo $each
        end
    end
end

# What stands behind the sub-command: $argv are the words of its usage, such as CONFIG.
function __tach_place
    set -l words (__tach_words)
    set -l given 0
    set -l rest $words
    set -e rest[1]
    for word in $rest
        string match -q -- '-*' $word; or set given (math $given + 1)
    end
    set -l last (count $argv)
    if test $last -gt 0; and test $argv[$last] = PROGRAM; and test $given -ge $last
        __fish_complete_subcommand --fcs-skip=(math $last + 1)
        return
    end
    switch "$argv[$(math $given + 1)]"
        case CONFIG
            __tach_configurations
        case PID
            tach --completion pids 2>/dev/null
        case PROGRAM
            __fish_complete_subcommand --fcs-skip=(math (count $words) + 1)
        case FILE SPOOL A B
            __fish_complete_path (commandline -ct)
    end
end

complete -c tach -f
complete -c tach -n 'not __tach_begun' -l help -d 'say how tach is used'
complete -c tach -n 'not __tach_begun' -l version -d 'say which tach this is'
complete -c tach -n 'not __tach_begun' -l schema -d 'print the JSON Schema of configurations'
complete -c tach -n 'not __tach_begun' -l completion -xa 'bash fish zsh' -d 'print such a script'
complete -c tach -n __tach_first -a '(__tach_configurations)'
complete -c tach -n __tach_runs -a '(__fish_complete_subcommand --fcs-skip=2)'
# @commands@
