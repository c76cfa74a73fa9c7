# What the movers for AWS share: who this is, and calls of the EC2 query API. Sourced after lib.sh.

# shellcheck shell=sh disable=SC2034,SC2154 # the variables of lib.sh

api=
eni=
region=
credentials=
metadata=http://169.254.169.254/latest

# imds PATH OPTION: asks the metadata service, version 2. Sets `body`.
imds() {
    if [ -z "$metadata_auth" ]; then
        metadata_auth='header = "X-aws-ec2-metadata-token-ttl-seconds: 300"'
        ask_metadata PUT "$metadata/api/token" "$2"
        is_secret "$metadata" "$body"
        metadata_auth="header = \"X-aws-ec2-metadata-token: $body\""
    fi
    ask_metadata GET "$metadata/meta-data/$1" "$2"
}

# aws_identify: sets `eni`, `region`, `api` and `auth`, where options don't.
aws_identify() {
    if [ -z "$region" ]; then
        imds placement/region --region
        region=$body
    fi
    is_made_of --region "$region" 'a-z0-9-' 'the name of a region'
    [ -n "$api" ] || api=https://ec2.$region.amazonaws.com
    is_url --api "$api"
    if [ -z "$eni" ]; then
        hardware_address --eni
        imds "network/interfaces/macs/$mac/interface-id" --eni
        eni=$body
    fi
    is_made_of --eni "$eni" 'a-z0-9-' 'the id of a network interface, as eni-0123456789abcdef0'
    session=
    if [ -n "$credentials" ]; then
        private --credentials "$credentials"
        [ "$(grep -c '^[[:space:]]*\[' "$credentials")" -le 1 ] || wrong "$credentials has several profiles: leave one"
        key=$(value_of aws_access_key_id "$credentials")
        secret=$(value_of aws_secret_access_key "$credentials")
        session=$(value_of aws_session_token "$credentials")
    else
        imds iam/security-credentials/ --credentials
        is_made_of "$metadata" "$body" 'A-Za-z0-9+=,.@_-' 'the name of one role'
        imds "iam/security-credentials/$body" --credentials
        key=$(json .AccessKeyId)
        secret=$(json .SecretAccessKey)
        session=$(json .Token)
    fi
    from=${credentials:-$metadata}
    is_secret "$from" "$key"
    is_secret "$from" "$secret"
    auth="aws-sigv4 = \"aws:amz:$region:ec2\"
user = \"$key:$secret\"
header = \"Content-Type: application/x-www-form-urlencoded; charset=utf-8\""
    [ -z "$session" ] || {
        is_secret "$from" "$session"
        auth="$auth
header = \"X-Amz-Security-Token: $session\""
    }
    want=$eni
}

# ec2 WORDS: the body of a call of the version that is meant.
ec2() { printf 'Version=2016-11-15&%s' "$1"; }
