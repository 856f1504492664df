"""Each permission taken away in turn: what needs it must be told AccessDenied by its name, and work when it is put back."""

import json
import re
import threading
import time

import exercises
import system
from cloud import BUCKET, KEY, QUEUES, ROOT

TABLE = ROOT / "infra" / "permissions.md"
# What comes last in an exercise is denied this late.
DENIED_SECONDS_MAX = 60
DONE_SECONDS_MAX = 90
LOOK_SECONDS = 0.2
# How long a message rests here after a failed delivery, so that what was denied is tried again soon.
REST_SECONDS = 2
# And how often it comes, so that it is there when what was taken is put back.
DELIVERIES_MAX = 1_000
# Calls that AWS makes under the function's role. ministack makes them as itself, so that nothing can be denied.
BY_THE_HOST = {
    "logs:CreateLogStream", "logs:PutLogEvents", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes",
    "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams",
}
NEEDED, HOST, SPARE, SILENT = "needed", "not asked", "SPARE", "FAILED"


def run(office, say, only=()):
    """Tries every permission of every function's role, or of these functions', and writes them to the table; ends with an error
    if one is spare."""
    cloud = office.cloud
    roles = Roles(cloud)
    queues = cloud.client("sqs")
    for name in QUEUES:
        dead = json.loads(queues.get_queue_attributes(QueueUrl=cloud.names[name], AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"])
        policy = json.dumps(dead | {"maxReceiveCount": DELIVERIES_MAX})
        attributes = {"VisibilityTimeout": str(REST_SECONDS), "RedrivePolicy": policy}
        queues.set_queue_attributes(QueueUrl=cloud.names[name], Attributes=attributes)
    scene = exercises.Scene(office)
    rows = []
    for role, number, action, resource in roles.grants():
        if only and role[:-4] not in only:
            continue
        started = time.monotonic()
        result, note = tried(scene, roles, role, number, action, resource)
        rows.append((role[:-4], action, shown(cloud, resource), result, note))
        say(f"{time.monotonic() - started:6.1f} s  {result:<12} {role:<20} {action:<30} {rows[-1][2]}  {note}")
    tried_now = {row[0] for row in rows}
    others = [row for row in known(TABLE.read_text()) if only and row[0] not in tried_now]
    TABLE.write_text(written(others + rows))
    wrong = [row for row in rows if row[3] in (SPARE, SILENT)]
    assert not wrong, f"spare or silent: {wrong}"


def tried(scene, roles, role, number, action, resource):
    """What becomes of the function's work without one action on one resource."""
    if action in BY_THE_HOST:
        return HOST, ""
    exercise, never = exercises.of(role, action, shown(scene.office.cloud, resource))
    for other, _ in never:
        roles.put(other, never)
    since = int(time.time() * 1000)
    roles.put(role, never, (number, action, resource))
    work = Work(exercise, scene)
    denied = denial(scene.office.cloud, work, since, roles.names[role], action)
    roles.put(role, never)
    done = work.ends()
    if not denied and done:
        result = SPARE, "everything works without it"
    elif not done and not (again := Work(exercise, scene)).ends():
        result = SILENT, f"it does not work when it is put back: {again.error!r}"
    elif not denied:
        result = SILENT, f"nothing says what is missing: {work.error!r}"
    else:
        result = NEEDED, ""
    for other, _ in never:
        roles.put(other)
    return result


def denial(cloud, work, since, role, action):
    """Waits for a line of the log that says that this role may not do this, or for the end of the work without one."""
    started = time.monotonic()
    while time.monotonic() - started < DENIED_SECONDS_MAX:
        over = work.is_over()
        lines = (line for line in cloud.logs(since) if f"/{role}/" in line and f"not authorized to perform: {action}" in line)
        if next(lines, None):
            return True
        if over:
            return False
        time.sleep(LOOK_SECONDS)
    return False


class Work:
    """An exercise in a thread of its own."""

    def __init__(self, exercise, scene):
        self.error = None
        self.thread = threading.Thread(target=self.run, args=(exercise, scene), daemon=True)
        self.thread.start()

    def run(self, exercise, scene):
        try:
            exercise(scene)
        except Exception as error:
            self.error = error

    def is_over(self):
        return not self.thread.is_alive()

    def ends(self):
        """Waits for it; whether it went well."""
        self.thread.join(DONE_SECONDS_MAX)
        return self.is_over() and self.error is None


class Roles:
    """The roles' own policies, one action on one resource a statement."""

    def __init__(self, cloud):
        self.iam, self.functions, self.cloud = cloud.client("iam"), cloud.client("lambda"), cloud
        functions = [name for name, made in cloud.template["Resources"].items() if made["Type"] == "AWS::Lambda::Function"]
        self.names = {f"{function}Role": cloud.names[f"{function}Role"] for function in functions}
        self.policies = {}
        for role, name in self.names.items():
            document = self.iam.get_role_policy(RoleName=name, PolicyName="own")["PolicyDocument"]
            self.policies[role] = document if isinstance(document, dict) else json.loads(document)

    def grants(self):
        """(role, statement's number, action, resource), without what ministack alone asks for."""
        for role, policy in self.policies.items():
            for number, statement in enumerate(policy["Statement"]):
                if statement["Effect"] != "Allow":
                    continue
                for action in listed(statement["Action"]):
                    if action not in system.BATCHES.values():
                        yield from ((role, number, action, resource) for resource in listed(statement["Resource"]))

    def put(self, role, never=(), taken=None):
        """Gives a role its policy without this one grant and what it is never to have, and has its function begin anew."""
        statements = []
        for number, statement in enumerate(self.policies[role]["Statement"]):
            for action in listed(statement["Action"]):
                single = next((one for one, batch in system.BATCHES.items() if batch == action), action)
                is_gone = statement["Effect"] == "Allow" and (role, single) in never
                kept = [on for on in listed(statement["Resource"]) if not is_gone and (number, single, on) != taken]
                if kept:
                    statements.append(statement | {"Action": action, "Resource": kept})
        document = json.dumps(self.policies[role] | {"Statement": statements})
        self.iam.put_role_policy(RoleName=self.names[role], PolicyName="own", PolicyDocument=document)
        self.restart(role)

    def restart(self, role):
        """What is kept in an instance - secrets, halls, clients - goes with the instance."""
        # The code is the same. A change of the settings alone leaves ministack's instances as they are.
        self.functions.update_function_code(FunctionName=self.cloud.names[role[:-4]], S3Bucket=BUCKET, S3Key=KEY)


def listed(one_or_more):
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def shown(cloud, resource):
    """A resource by what the template calls it."""
    if resource == "*":
        # What ministack asks for e-mail (system.py).
        return "identity/EmailIdentity"
    name = resource.split(":", 5)[5]
    for logical, physical in cloud.names.items():
        # A queue is called by its address, and a topic by its ARN.
        name = name.replace(physical, logical).replace(re.split("[/:]", physical)[-1], logical)
    # A stream is named by when it was made.
    return re.sub("/stream/.*", "/stream", name).removesuffix("-??????").removesuffix(":*")


def written(rows):
    counts = {result: sum(row[3] == result for row in rows) for result in (NEEDED, HOST, SPARE, SILENT)}
    head = f"""\
# Permissions

Written by `infra/check-deployment --permissions`, which takes one action on one resource at a time out of a function's role
in a running stack, lets the function work until something is refused, and puts it back. *needed*: the function was told
AccessDenied with the name of the action, and its work was done once it had it again. Nothing else is allowed than what is here.

*not asked*: AWS writes logs, takes from queues and reads streams in the function's name, and ministack in its own, so that nothing
can be refused there; these rights are the ones that AWS's documentation asks for.

{counts[NEEDED]} needed, {counts[HOST]} not asked, {counts[SPARE]} spare, {counts[SILENT]} failed.

| function | action | resource | result |
|---|---|---|---|
"""
    lines = [f"| {function} | `{action}` | `{name}` | {result}{': ' + note if note else ''} |\n" for function, action, name, result, note in sorted(rows)]
    return head + "".join(lines)


def known(table):
    """The rows of a table that was written."""
    for function, action, name, said in re.findall(r"^\| (\w+) \| `(.+?)` \| `(.+?)` \| (.+) \|$", table, re.MULTILINE):
        result, _, note = said.partition(": ")
        yield function, action, name, result, note
