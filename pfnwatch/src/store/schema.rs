//! The tables, and the migration of a file of an earlier schema.

mod renames;

use rusqlite::{Connection, Transaction, TransactionBehavior};

/// The file's application id: `pfnw`.
pub(super) const APPLICATION_ID: i32 = 0x7066_6e77;

/// The schema that this pfnwatch writes, as the file's `user_version`.
pub(super) const VERSION: i32 = 5;

/// A step from one schema to the next one.
type Migration = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// The first one starts from an empty file. A migration that was released never changes.
const MIGRATIONS: [Migration; 5] = [
    |transaction| transaction.execute_batch(include_str!("schema/1.sql")),
    |transaction| transaction.execute_batch(include_str!("schema/2.sql")),
    |transaction| {
        transaction.execute_batch(include_str!("schema/3.sql"))?;
        renames::apply(transaction)
    },
    |transaction| transaction.execute_batch(include_str!("schema/4.sql")),
    |transaction| transaction.execute_batch(include_str!("schema/5.sql")),
];

/// Brings a file to [`VERSION`] in one transaction. If it fails or is interrupted, the file stays as it was.
pub(super) fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? == VERSION {
        return Ok(());
    }
    let transaction = Transaction::new(connection, TransactionBehavior::Immediate)?;
    migrate_in(&transaction)?;
    transaction.commit()
}

/// Brings a file to [`VERSION`], without the commit.
pub(super) fn migrate_in(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    // Not before the transaction: another process may have migrated the file meanwhile.
    let from = usize::try_from(version(transaction)?).unwrap_or(0);
    MIGRATIONS.iter().skip(from).try_for_each(|migration| migration(transaction))?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)
}

/// The schema of a file; 0 for an empty one.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}
