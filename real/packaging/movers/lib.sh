# What all movers share: sourced by them, never run.
#
# A mover sets `want` (this machine, as the provider names it) and `auth` (lines of curl's configuration that prove
# who asks), defines
#
#   look   which sets `now`: the machine that the provider's table names for `$address`
#   move   which has the provider name this one
#
# and ends with `reconcile`. Every call that changes something goes through `change`, which asks `onehold holds` first.
# Nothing that may fail is called in a condition, where `set -e` is off, nor in a word of a command. A secret is never
# an argument of a program, and never printed.

# shellcheck shell=sh disable=SC2034,SC2154 # want, now: the mover's; mac: for it

mover=${0##*/}
addresses=${ONEHOLD_ADDRESSES-}
auth=
metadata_auth=
dry_run=
hint=
mac=
patience=20
timeout=10
waited=0
cr=$(printf '\r')
nl='
'

say() { printf '%s: %s\n' "$mover" "$*"; }

# die WORDS…: the one last line, which `onehold status` shows.
die() {
    printf '%s: %s\n' "$mover" "$*" >&2
    exit 1
}

# wrong WORDS…: what was asked for can't be; trying again won't help.
wrong() {
    printf '%s: %s\n' "$mover" "$*" >&2
    exit 2
}

# options "NAME…" ARGUMENT…: sets a variable for each option that is given, `--token-file X` as `token_file`.
options() {
    known="addresses patience timeout $1"
    shift
    while [ $# -gt 0 ]; do
        case $1 in
        --help)
            sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
            exit 0
            ;;
        --dry-run)
            dry_run=yes
            shift
            continue
            ;;
        --?*) name=${1#--} ;;
        *) wrong "\`$1\` is not an option; --help has them all" ;;
        esac
        case " $known " in
        *" $name "*) ;;
        *) wrong "there is no option --$name; --help has them all" ;;
        esac
        [ $# -ge 2 ] || wrong "--$name needs a value"
        [ -n "$2" ] || wrong "--$name is empty"
        eval "$(printf '%s' "$name" | tr - _)=\$2" # the name is one of $known
        shift 2
    done
    is_number --patience "$patience" 'seconds'
    is_number --timeout "$timeout" 'seconds'
    [ "$timeout" -gt 0 ] || wrong '--timeout is 0: say how many seconds one call may take'
    [ -n "$addresses" ] || wrong "no address: ONEHOLD_ADDRESSES is not set, as the agent does; by hand say --addresses"
    for address in $addresses; do
        is_made_of --addresses "$address" '0-9a-fA-F.:' 'an address without prefix'
    done
    case ${ONEHOLD_STATE-} in
    '' | holding) ;;
    *) wrong "a mover is a \`holding\` hook and nothing else; this is one for \`$ONEHOLD_STATE\`" ;;
    esac
    if [ -z "$dry_run" ] && [ -z "${ONEHOLD_GROUP-}" ]; then
        wrong "ONEHOLD_GROUP is not set, as the agent does, so who holds can't be asked; by hand say --dry-run"
    fi
    for program in curl jq; do
        command -v "$program" >/dev/null || wrong "\`$program\` is missing: install the package $program"
    done
}

# is_made_of OPTION VALUE CHARACTERS WHAT
is_made_of() {
    case $2 in
    '' | *[!$3]*) wrong "$1 is \`$2\`, and must be $4" ;;
    esac
}

is_number() { is_made_of "$1" "$2" '0-9' "a number: $3"; }

# is_url OPTION VALUE: no secret leaves this machine in the clear.
is_url() {
    case $2 in
    https://?* | http://127.0.0.1[:/]* | http://\[::1\][:/]* | http://localhost[:/]*) ;;
    *) wrong "$1 is \`$2\`, and must begin with https://, for a secret is sent there" ;;
    esac
}

# private OPTION FILE: the file is one that nobody else can read or change.
private() {
    [ -n "$2" ] || wrong "$1 FILE is needed: the file that has the secret, of mode 600"
    found=$(stat -L -c '%F %u %a' "$2" 2>/dev/null) || wrong "$1: $2 does not exist"
    mode=${found##* }
    found=${found% *}
    owner=${found##* }
    case $found in
    'regular '*) ;;
    *) wrong "$1: $2 is not a file" ;;
    esac
    case $mode in
    *00) ;;
    *) wrong "$2 has mode $mode, so others than its owner can reach it; run \`chmod 600 $2\`" ;;
    esac
    case $owner in
    0 | "$(id -u)") ;;
    *) wrong "$2 belongs to user $owner, who can read it and change it; run \`chown root $2\`" ;;
    esac
    [ -r "$2" ] || wrong "$2 can't be read by user $(id -u), whom the hook runs as"
}

# is_secret FILE VALUE: so that it can be quoted, and without printing it.
is_secret() {
    case $2 in
    '') wrong "$1 has no token" ;;
    *[!A-Za-z0-9._~+/=:-]*) wrong "$1 has something else than a token, which is one line without spaces and quotes" ;;
    esac
}

# token_of FILE: sets `token` to its first line.
token_of() {
    private --token-file "$1"
    token=
    IFS= read -r token <"$1" || [ -n "$token" ] || wrong "$1 is empty"
    token=${token%"$cr"}
    is_secret "$1" "$token"
}

# value_of KEY FILE: of `KEY = VALUE`, as files for other clients have it.
value_of() {
    sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" "$2" |
        sed -n "1s/[[:space:]]*\$//;1s/^\"\(.*\)\"\$/\1/;1s/^'\(.*\)'\$/\1/;1p"
}

# request METHOD URL [BODY]: one call; sets `status`, `head` and `body`. (Curl signs a header that it is to leave out,
# so no `Expect:` is left out here.)
request() {
    method=$1
    url=$2
    answer=$(
        {
            printf '%s\n' "$auth"
            [ $# -lt 3 ] || printf 'data-binary = %s\n' "$(printf '%s' "$3" | jq -Rs .)"
        } | curl --disable --config - --silent --show-error --globoff --include --suppress-connect-headers \
            --connect-timeout 5 --max-time "$timeout" --max-filesize 8000000 \
            --write-out . --request "$method" "$url" 2>&1
    ) || {
        answer=${answer%.}
        answer=${answer%"$nl"}
        die "$method $url: ${answer##*"$nl"}$hint"
    }
    answer=${answer%.}
    end="$cr$nl$cr$nl"
    while
        head=${answer%%"$end"*}
        answer=${answer#*"$end"}
        status=${head#* }
        status=${status%%[!0-9]*}
        [ "${status#1}" != "$status" ] # 1xx: the answer is still to come
    do :; done
    body=$answer
}

# call METHOD URL [BODY]: the same, and it must succeed.
call() {
    request "$@"
    case $status in
    2??) return 0 ;;
    esac
    # What the provider says of it: JSON with a message somewhere, or XML.
    why=$(printf '%s' "$body" |
        jq -r '[.. | objects | (.message, .error_description)? | strings] | first // empty' 2>/dev/null) || why=
    [ -n "$why" ] || why=$(printf '%s' "$body" | tr -d '\n' | sed -n 's/.*<Message>\([^<]*\)<.*/\1/p')
    why=$(printf '%s' "$why" | tr -cd '[:print:]' | cut -c 1-150)
    after=$(header Retry-After | tr -cd '0-9' | cut -c 1-6)
    case $status in
    401 | 403) why="${why:-refused}; may this token do that?" ;;
    429 | 5??) why="${why:-not now}; to be tried again${after:+ after $after s}" ;;
    esac
    die "$method $url: $status${why:+: $why}$hint"
}

# header NAME: of the last answer.
header() { printf '%s\n' "$head" | tr -d '\r' | sed -n "s/^$1:[[:space:]]*//Ip" | sed -n 1p; }

# pick JSON FILTER [ARGUMENT…]: prints what jq finds. What can't be read is not empty, and neither is null.
pick() {
    text=$1
    filter=$2
    shift 2
    printf '%s' "$text" | jq -cer "$@" "$filter" 2>/dev/null || die "$method $url: an answer that can't be read"
}

# json FILTER [ARGUMENT…]: the same, of the last answer.
json() { pick "$body" "$@"; }

# ask_metadata METHOD URL OPTION: what the provider tells this machine of itself, if OPTION does not say it.
# Sets `body`.
ask_metadata() {
    kept=$auth
    auth=$metadata_auth
    hint="; or say $3"
    call "$1" "$2"
    body=${body%"$nl"}
    auth=$kept
    hint=
}

# hardware_address OPTION: sets `mac` to that of the group's interface, by which a provider knows this machine.
hardware_address() {
    [ -n "${ONEHOLD_INTERFACE-}" ] || wrong "ONEHOLD_INTERFACE is not set, as the agent does; by hand say $1"
    file=/sys/class/net/$ONEHOLD_INTERFACE/address
    [ -r "$file" ] || wrong "there is no interface $ONEHOLD_INTERFACE here; say $1"
    IFS= read -r mac <"$file"
}

# change METHOD URL BODY: a call that changes something, if this member holds right now.
change() {
    if [ -n "$dry_run" ]; then
        say "would $1 $2 $3"
        return 0
    fi
    code=0
    said=$(timeout --foreground 5 onehold holds "$ONEHOLD_GROUP" ${ONEHOLD_CLUSTER:+--cluster "$ONEHOLD_CLUSTER"} \
        ${ONEHOLD_SOCKET:+--socket "$ONEHOLD_SOCKET"} 2>&1) || code=$?
    case $code in
    0) ;;
    1) die "this member does not hold $ONEHOLD_GROUP any more: no $1 $2" ;;
    124) die "\`onehold holds $ONEHOLD_GROUP\` gave no answer in 5 s: no $1 $2" ;;
    *) die "whether this member holds $ONEHOLD_GROUP is not known (${said##*"$nl"}): no $1 $2" ;;
    esac
    call "$@"
}

# pause WHAT: a second, within what patience there is.
pause() {
    [ "$waited" -lt "$patience" ] || die "$1 after $patience s"
    waited=$((waited + 1))
    sleep 1
}

# finish URL STATUS RUNNING DONE ERROR: asks for an action at URL until it is done. STATUS and ERROR are filters.
finish() {
    while :; do
        call GET "$1"
        state=$(json "$2")
        [ "$state" = "$3" ] || break
        pause "$address: still $3"
    done
    [ "$state" = "$4" ] || die "$address: $state: $(json "$5")"
}

# Looks, moves what is not here, and looks until it is so; what is not so for three looks is moved again.
reconcile() {
    for address in $addresses; do
        look
        if [ "$now" = "$want" ]; then
            say "$address is at $want already"
            continue
        fi
        say "$address is at $now, and belongs to $want"
        move
        [ -z "$dry_run" ] || continue
        looks=0
        while :; do
            look
            [ "$now" != "$want" ] || break
            pause "$address: moved, says the provider, and yet it is at $now"
            # A call of the loser's that came late may have moved it back meanwhile.
            looks=$((looks + 1))
            if [ "$looks" -eq 3 ]; then
                move
                looks=0
            fi
        done
        say "$address is at $want now"
    done
}
