import { type Database, type Row, type Statement, statement } from '../storage/database.ts'

/** A part of a list that is sorted by id, which is by age. */
export interface Page {
  /** The id after which it begins; undefined is the beginning. */
  readonly after: string | undefined
  readonly limit: number
}

/** Everything that `list` has, a page at a time, so that no single answer is huge. */
export async function everything<Entity extends { readonly id: string }>(list: (page: Page) => Promise<Entity[]>): Promise<Entity[]> {
  const all: Entity[] = []
  for (;;) {
    const page = await list({ after: all.at(-1)?.id, limit: pageRows })
    all.push(...page)
    if (page.length < pageRows) return all
  }
}

const pageRows = 500
const idsPerRead = 512

/**
 * Reads the rows that belong to many ids. `sql` makes the statement from the list of placeholders.
 * The list is padded to a power of two by repeating an id, so that ten statements are prepared and not five hundred.
 */
export async function readMany(read: Database['read'], sql: (places: string) => string, ids: readonly string[]): Promise<Row[]> {
  const reads: Promise<Row[]>[] = []
  for (let at = 0; at < ids.length; at += idsPerRead) {
    const some = ids.slice(at, at + idsPerRead)
    const size = 2 ** Math.ceil(Math.log2(some.length))
    const padded = Array.from({ length: size }, (_, index) => some[Math.min(index, some.length - 1)]!)
    reads.push(read(statementFor(sql, size), padded))
  }
  return (await Promise.all(reads)).flat()
}

function statementFor(sql: (places: string) => string, size: number): Statement {
  return statement(sql(Array.from({ length: size }, (_, index) => `$${index + 1}`).join(', ')))
}

/** The values of one column by another's, in the order of the rows. */
export function gathered(rows: readonly Row[], by: string, column: string): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const row of rows) {
    const key = String(row[by])
    const values = found.get(key)
    if (values === undefined) found.set(key, [String(row[column])])
    else values.push(String(row[column]))
  }
  return found
}
