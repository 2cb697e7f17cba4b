//! From the embedded store to etcd.

use std::path::Path;

use crate::log::{self, Directory};
use crate::{Change, Encoded, Error, Etcd, EtcdOptions, Expect, Store, Write, WriteError};

/// How many objects are on their way at a time.
const BATCH: usize = 256;

/// Copies everything in a directory, which no other process may have, to a prefix of etcd with nothing below it. Returns
/// the number of objects. The directory stays as it is. Revisions go on above those that were handed out, so that
/// clients which know one are not told that it does not exist yet.
pub async fn migrate(directory: &Path, options: EtcdOptions) -> Result<usize, Error> {
    let open_error = |source: log::OpenError| Error::Open {
        path: directory.into(),
        source: source.into(),
    };
    // Held until the end.
    let media = Directory::take(directory)?;
    let content = log::read(&media).map_err(open_error)?;
    let prefix = options.prefix.clone();
    let store = Etcd::connect(options).await?;
    if store.count("/") > 0 {
        return Err(Error::NotEmpty { prefix });
    }
    store.raise(content.reserved).await?;
    let mut objects: Vec<_> = content.objects.into_values().collect();
    // Older objects stay older than younger ones.
    objects.sort_by_key(|object| object.created());
    for batch in objects.chunks(BATCH) {
        let writes = batch.iter().map(|object| {
            let (text, splice) = object.text();
            Write::new(
                object.key().to_owned(),
                Expect::Absent,
                Change::Put(Encoded::new(text, splice)),
            )
        });
        for result in store.write_all(writes.collect()).await {
            result.map_err(|error| match error {
                WriteError::Storage(error) => Error::Remote { source: error.into() },
                // Somebody else has begun to use the prefix.
                WriteError::Conflict { .. } | WriteError::Guard => Error::NotEmpty { prefix: prefix.clone() },
            })?;
        }
    }
    Ok(objects.len())
}
