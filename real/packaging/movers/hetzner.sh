# What the movers for Hetzner Cloud share. Sourced after lib.sh.

# shellcheck shell=sh disable=SC2034,SC2154 # the variables of lib.sh

api=https://api.hetzner.cloud/v1
metadata=http://169.254.169.254/hetzner/v1/metadata
server=
token_file=

# Sets `server` and `auth`, where options don't.
hetzner_identify() {
    is_url --api "$api"
    token_of "$token_file"
    if [ -z "$server" ]; then
        ask_metadata GET "$metadata/instance-id" --server
        server=$body
    fi
    is_number --server "$server" 'of this server, as the metadata service says it'
    want=$server
    auth="header = \"Authorization: Bearer $token\"
header = \"Content-Type: application/json\""
}

# Waits until the action that was answered is done.
finish_action() {
    [ -z "$dry_run" ] || return 0
    action=$(json .action.id)
    finish "$api/actions/$action" .action.status running success .action.error.message
}
