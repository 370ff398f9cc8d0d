//! The tables, and how a file of an earlier schema becomes one of this.

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// The file's application id: `pfnw`.
pub(super) const APPLICATION_ID: i32 = 0x7066_6e77;

/// The schema that this pfnwatch writes, as the file's `user_version`.
pub(super) const VERSION: i32 = 2;

/// What leads from each schema to the next one, the first from an empty file. A migration that was released never changes.
const MIGRATIONS: [&str; 2] = [include_str!("schema/1.sql"), include_str!("schema/2.sql")];

/// Brings a file to [`VERSION`], in one transaction.
pub(super) fn migrate(connection: &mut Connection, from: i32) -> rusqlite::Result<()> {
    if from == VERSION {
        return Ok(());
    }
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(from).unwrap_or(0)) {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
