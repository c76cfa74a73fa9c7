"""AWS: moto's server, and the official client to set it up and to look at it.

Prints one line of JSON about what it has set up, and then one about what there is for each line on its standard input.
It ends when its input does."""

import json
import logging
import sys

import boto3
from moto import settings
from moto.ec2.exceptions import InvalidParameterValueError
from moto.ec2.models.elastic_network_interfaces import NetworkInterfaceBackend
from moto.ec2.responses.elastic_network_interfaces import ElasticNetworkInterfaces
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
ADDRESS, OVERLAY, OVERLAY6 = "10.0.0.50", "192.0.2.50/32", "2001:db8::50/128"

# AWS takes a reassigned address from the interface that had it, and refuses to assign one that is taken unless it may
# be reassigned. moto leaves it on both.
assign = NetworkInterfaceBackend.assign_private_ip_addresses


def assign_as_aws_does(self, eni_id, private_ip_addresses=None, secondary_ips_count=None):
    for eni in self.enis.values():
        taken = [ip for ip in eni.private_ip_addresses if ip["PrivateIpAddress"] in (private_ip_addresses or [])]
        if taken and eni.id != eni_id and reassign["allowed"] != "true":
            raise InvalidParameterValueError("the address is assigned to another interface")
        for ip in taken if eni.id != eni_id else []:
            eni.private_ip_addresses.remove(ip)
    return assign(self, eni_id, private_ip_addresses, secondary_ips_count)


reassign = {"allowed": "false"}
respond = ElasticNetworkInterfaces.assign_private_ip_addresses


def respond_as_aws_does(self):
    reassign["allowed"] = self.querystring.get("AllowReassignment", ["false"])[0]
    return respond(self)


NetworkInterfaceBackend.assign_private_ip_addresses = assign_as_aws_does
ElasticNetworkInterfaces.assign_private_ip_addresses = respond_as_aws_does

policy = sys.argv[1]
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
keys = {"aws_access_key_id": "setup", "aws_secret_access_key": "setup"}


def client(service):
    return boto3.client(service, region_name=REGION, endpoint_url=url, **keys)


# Nobody needs permission yet.
ec2, iam, sts = client("ec2"), client("iam"), client("sts")
vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
enis = [
    ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=ip)["NetworkInterface"]["NetworkInterfaceId"]
    for ip in ("10.0.0.10", "10.0.0.11")
]
tables = [ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"] for _ in range(2)]
for table in tables:
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=OVERLAY, NetworkInterfaceId=enis[0])
    ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock=OVERLAY6, NetworkInterfaceId=enis[0])
trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
role = iam.create_role(RoleName="movers", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
iam.put_role_policy(RoleName="movers", PolicyName="movers", PolicyDocument=policy)
credentials = sts.assume_role(RoleArn=role, RoleSessionName="lb1")["Credentials"]
iam.create_user(UserName="movers")
iam.put_user_policy(UserName="movers", PolicyName="movers", PolicyDocument=policy)
user = iam.create_access_key(UserName="movers")["AccessKey"]
iam.create_user(UserName="nobody")
nobody = iam.create_access_key(UserName="nobody")["AccessKey"]
everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
iam.create_user(UserName="admin")
iam.put_user_policy(UserName="admin", PolicyName="admin", PolicyDocument=json.dumps(everything))
admin = iam.create_access_key(UserName="admin")["AccessKey"]
keys = {"aws_access_key_id": admin["AccessKeyId"], "aws_secret_access_key": admin["SecretAccessKey"]}
ec2 = client("ec2")
ec2.assign_private_ip_addresses(NetworkInterfaceId=enis[0], PrivateIpAddresses=[ADDRESS])
# From now on signatures are checked, and permissions.
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0


def state():
    found = ec2.describe_network_interfaces(NetworkInterfaceIds=enis)["NetworkInterfaces"]
    addresses = {
        eni["NetworkInterfaceId"]: [ip["PrivateIpAddress"] for ip in eni["PrivateIpAddresses"]] for eni in found
    }
    routes = {
        table["RouteTableId"]: {
            route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock"): route.get("NetworkInterfaceId")
            for route in table["Routes"]
        }
        for table in ec2.describe_route_tables(RouteTableIds=tables)["RouteTables"]
    }
    return {"addresses": addresses, "routes": routes}


def say(what):
    print(json.dumps(what, default=str), flush=True)


say({
    "url": url, "enis": enis, "tables": tables, "role": credentials,
    "user": {"id": user["AccessKeyId"], "secret": user["SecretAccessKey"]},
    "nobody": {"id": nobody["AccessKeyId"], "secret": nobody["SecretAccessKey"]},
})
for line in sys.stdin:
    if line.strip():
        say(state())
server.stop()
