import { type Committed, type Database, type Step, statement } from '../storage/database.ts'
import { amount } from './cells.ts'

/**
 * The one way to change who and what exists: what is written and the directory's new revision land together, or neither. So whoever
 * shares the books learns of it by asking them, even when the gateway that wrote dies before it can tell anybody.
 */
export function changeDirectory(database: Pick<Database, 'commit'>, steps: readonly Step[]): Promise<Committed> {
  // Last, so that the row which all changes have in common is locked for the shortest, and never while another one is waited for.
  return database.commit([...steps, { statement: turn, values: [] }], 'synced')
}

/** Goes up with each change. What is read after it is at least as new. */
export async function readRevision(read: Database['read']): Promise<bigint> {
  const [row] = await read(revision)
  return amount(row!, 'revision')
}

const turn = statement('update installation set revision = revision + 1 where id = 1')
const revision = statement('select revision from installation where id = 1')
