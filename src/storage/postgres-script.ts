import type { Client } from 'pg'
import { type Committed, type Row, type Step, scriptNumber } from './database.ts'
import { type Complaint, complaintOf } from './postgres-fault.ts'
import { bound } from './postgres-values.ts'

/** Whether a text of several statements is among the steps. Such a transaction travels alone, step by step. */
export function hasScript(steps: readonly Step[]): boolean {
  return steps.some(({ statement }) => statement.number === scriptNumber)
}

/** A statement that the server refuses, which undoes all of them. */
export interface Refused {
  readonly complaint: Complaint
  readonly sql: string
}

/** A migration may take as long as it needs, and is on the disk when this resolves. Rejects when the connection is lost. */
export async function runScript(client: Client, steps: readonly Step[], synchronousCommit: string): Promise<Committed | Refused> {
  await client.query(`begin; set local statement_timeout = 0; set local synchronous_commit = ${synchronousCommit}`)
  const rows: Row[][] = []
  for (const { statement, values, rows: wanted, otherwise } of steps) {
    try {
      const isText = statement.number === scriptNumber
      const result = await (isText ? client.query(statement.sql) : client.query(statement.sql, values.map(bound)))
      if (wanted !== undefined && result.rowCount !== wanted) {
        await client.query('rollback')
        return { done: false, guard: otherwise ?? `step ${rows.length}` }
      }
      rows.push(isText ? [] : result.rows)
    } catch (error) {
      await client.query('rollback')
      return { complaint: complaintOf(error), sql: statement.sql }
    }
  }
  await client.query('commit')
  return { done: true, rows }
}
