"""What a ticket's text begins with. Imports nothing: some tell a ticket from a name before anything else."""

TICKET_NAME = "fticket"


def is_ticket(text: str) -> bool:
    """Whether `text` is meant to be a ticket rather than a link."""
    return text.strip().lower().startswith(TICKET_NAME)
