/**
 * The seam under all SQL.
 *
 * SQL is written once, in the subset that SQLite and PostgreSQL share, with `$1` placeholders that may repeat.
 * Integers go in as bigint or whole number and come back as bigint, because money and counters must not be rounded.
 */
export interface Database {
  /** For what the shared subset cannot say: how a table is cut into partitions. Nobody else asks. */
  readonly engine: Engine

  /** Reads now; sees every commit that was acknowledged before. For the data plane: small, indexed, prepared. */
  read(statement: Statement, values?: readonly Value[]): Promise<Row[]>

  /** Reads that may take long (reports, audits, lists): they never stand before a settle. Sees every acknowledged commit. */
  report(statement: Statement, values?: readonly Value[]): Promise<Row[]>

  /**
   * Runs the steps in order, in one transaction: all of their writes land, or none.
   * Never rejects because a guard failed: that is an answer. Rejects with `DatabaseAway` or an engine's error;
   * it is then unknown whether the steps took effect, so whoever repeats them must do so by an idempotent key.
   */
  commit(steps: readonly Step[], durability: Durability): Promise<Committed>

  close(): Promise<void>
}

export type Engine = 'sqlite' | 'postgres'

/** `synced` has reached the disk when acknowledged; `ordered` is lost with the machine's power, never alone. */
export type Durability = 'synced' | 'ordered'

export type Value = string | bigint | number | null | Uint8Array

/** Column name → value. Integers are bigint. */
export type Row = Readonly<Record<string, string | bigint | number | null | Uint8Array>>

/** SQL that is prepared once and known by its number afterwards. Make them at module level, with `statement`. */
export interface Statement {
  readonly number: number
  readonly sql: string
}

export interface Step {
  readonly statement: Statement
  readonly values: readonly Value[]
  /** How many rows must be returned (of a statement with `returning` or a select) or else changed. */
  readonly rows?: number
  /** What to call it when they were not: the whole transaction is undone and this is the answer. */
  readonly otherwise?: string
}

/** `rows[n]` is what step n returned: empty unless it is a select or has `returning`. */
export type Committed = { readonly done: true; readonly rows: readonly Row[][] } | { readonly done: false; readonly guard: string }

/** The engine cannot be reached, or no longer answers. */
export class DatabaseAway extends Error {
  override readonly name = 'DatabaseAway'
}

/** The number of every script: an engine must not keep one by it. */
export const scriptNumber = -1

/** Several statements in one text, without values: run as it stands, never prepared. For migrations. */
export function script(sql: string): Statement {
  return { number: scriptNumber, sql }
}

/** The number of all that is worked out: an engine knows it by its text. */
export const workedOutNumber = -2

/** What the `stepsIn` of a module makes of a text. */
export interface WorkedOut {
  readonly steps: readonly Step[]
  /** Called in the same thread, when they have been committed. */
  readonly committed?: () => void
}

/**
 * Steps that are worked out where they run: its one value is a text, from which the module's `stepsIn(text)` makes them (`WorkedOut`), all of which have their
 * guards. For commits of so many steps that to put them together and to send them would cost the gateway's thread as much as all else. It must be
 * alone in its commit. Only the embedded engine has a thread to do it in; others refuse it.
 */
export function workedOut(module: URL): Statement {
  return { number: workedOutNumber, sql: module.href }
}

/** Whatever does the same many times in turn does it faster. A statement comes where it came first, so none comes before what it rests on. */
export function inOrderOfStatement(steps: readonly Step[]): readonly Step[] {
  const groups = new Map<number, Step[]>()
  for (const step of steps) {
    const group = groups.get(step.statement.number)
    if (group === undefined) groups.set(step.statement.number, [step])
    else group.push(step)
  }
  return [...groups.values()].flat()
}

let statements = 0
const bySql = new Map<string, Statement>()

/** The same text is the same statement, so that SQL composed by a query builder is prepared once too. */
export function statement(sql: string): Statement {
  let found = bySql.get(sql)
  if (found === undefined) {
    found = { number: statements++, sql }
    bySql.set(sql, found)
  }
  return found
}
