"""What a run was made on, in words."""


def machines(environments):
    """Returns processors, commits and the time that each commit began at.

    Args:
        environments: `environment` sections of records.
    """
    begun = {}
    for environment in environments:
        machine = f"{environment['cpu']}, {environment['num_cores']} cores"
        commits = begun.setdefault(machine, {})
        commits.setdefault(environment["commit"], environment["started_at"])
    return "; ".join(
        f"{machine}; {'; '.join(f'commit {c}; {time}' for c, time in commits.items())}"
        for machine, commits in begun.items()
    )


def versions(environment, packages=None):
    """Returns the packages of an environment with their versions.

    Args:
        environment: `environment` section.
        packages: those to name; None for all that are installed.
    """
    found = environment["versions"] or {}
    names = found if packages is None else [name for name in packages if name in found]
    return ", ".join(f"{name} {found[name]}" for name in names)
