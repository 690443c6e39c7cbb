import { type Step, statement, type Value } from '../storage/database.ts'

/** Column name → value. The order of the columns is the order in the SQL, so one kind of record always makes the same text. */
export type RowValues = Readonly<{ [column: string]: Value }>

/** A new entity, and what must be committed to make it exist. */
export interface Made<Entity> {
  readonly entity: Entity
  readonly steps: readonly Step[]
}

/** Inserts a record, or undoes the commit with the sentence `otherwise` when one like it exists already. */
export function insertStep(table: string, record: RowValues, otherwise: string): Step {
  const columns = Object.keys(record)
  const places = columns.map((_, index) => `$${index + 1}`)
  const sql = `insert into ${table} (${columns.join(', ')}) values (${places.join(', ')}) on conflict do nothing`
  return { statement: statement(sql), values: Object.values(record), rows: 1, otherwise }
}

/**
 * Replaces the record with this `id`, or undoes the commit with the sentence `otherwise` when it is gone or when another
 * one has the same values in all of the `unique` columns.
 */
export function updateStep(table: string, record: RowValues, unique: readonly string[], otherwise: string): Step {
  const columns = Object.keys(record)
  const place = (column: string) => `$${columns.indexOf(column) + 1}`
  const sets = columns.filter(column => column !== 'id').map(column => `${column} = ${place(column)}`)
  const same = unique.map(column => `other.${column} = ${place(column)}`)
  const alone = `not exists (select 1 from ${table} as other where ${same.join(' and ')} and other.id <> ${place('id')})`
  const sql = `update ${table} set ${sets.join(', ')} where id = ${place('id')} and ${alone}`
  return { statement: statement(sql), values: Object.values(record), rows: 1, otherwise }
}

/** A step of fixed SQL. */
export function step(sql: string, values: readonly Value[], guard?: { readonly rows: number; readonly otherwise: string }): Step {
  return { statement: statement(sql), values, ...guard }
}
