"""A check that no status alone can make."""

import schemathesis

# A direct call is answered for a worker: there is none, it was too slow, or it failed. All else is the dispatcher's own.
OF_WORKERS = {"no_workers", "deadline_exceeded", "call_failed"}


@schemathesis.check
def server_errors_are_the_workers(ctx, response, case):
    if response.status_code >= 500:
        code = response.json().get("code")
        assert code in OF_WORKERS, f"{response.status_code} {code} of a dispatcher whose broker is well"
