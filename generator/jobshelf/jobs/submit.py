"""Start a Job, and say what a person needs to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobshelf.client import explained
from jobshelf.jobs.order import Order, Parcel, send_files
from jobshelf.jobs.outlook import Outlook
from jobshelf.jobs.preflight import Checked

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo


def submit(order: Order, checked: Checked, client: HfApi) -> JobInfo:
    """Ask for the Job and return it. Raises TokenError when a secret is not set here, and what `explained` raises."""
    return post(send_files(order, client, checked.namespace), client)


def post(parcel: Parcel, client: HfApi) -> JobInfo:
    """Ask for the Job of a parcel."""
    with explained(client):
        return client.run_job(**parcel.call())


def receipt(job: JobInfo, checked: Checked, outlook: Outlook | None = None) -> str:
    """Return what is printed of a Job that was asked for: id, address, time, cost, and the commands that look after it."""
    where = f"{job.owner.name}/{job.id}"
    facts = {
        "job": job.id,
        "url": job.url,
        "machine": str(checked.cost),
        **({"expected": str(outlook)} if outlook else {}),
        "logs": f"hf jobs logs --follow {where}",
        "status": f"hf jobs inspect {where}",
        "wait": f"hf jobs wait {where}",
        "cancel": f"hf jobs cancel {where}",
    }
    return "\n".join(f"{key:<8} {value}" for key, value in facts.items())
