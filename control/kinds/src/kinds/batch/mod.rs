//! Jobs and CronJobs.

mod cron_job;
mod job;
mod spec;
mod status;

pub use cron_job::CRON_JOB;
pub use job::JOB;
