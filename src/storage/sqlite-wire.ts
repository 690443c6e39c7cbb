import type { Durability, Row, Step, Value } from './database.ts'

/**
 * What the gateway's thread and SQLite's thread say to each other.
 *
 * Commands travel as one flat array, because cloning an object for each would cost more than running its SQL;
 * their answers as one array in the same order.
 */
export interface Command {
  readonly level: Level
  readonly steps: readonly SentStep[]
}

/** The `pragma synchronous` that a command needs before it may be acknowledged (1 normal, 2 full); 0 is a read. */
export type Level = 0 | 1 | 2

export const readLevel = 0
export const commitLevels: Readonly<Record<Durability, Level>> = { ordered: 1, synced: 2 }

export interface SentStep {
  readonly number: number
  readonly sql: string
  readonly values: Value[]
  readonly rows: number | null
}

/**
 * `null`: done, and no step returned a row. `Row[][]`: done, with what each step returned. A number: the guard of that
 * step failed; `guard`: the same, of a step that was worked out. A string: the engine refused, and why. `away`: it could not write at all, and why.
 */
export type Answer = null | Row[][] | number | string | { readonly guard: string } | { readonly away: string }

export type Message = (string | bigint | number | null | Uint8Array)[]

/** Appends a command to a message. A statement's text is sent once: `known` are the numbers whose text the reader has. */
export function writeCommand(message: Message, level: Level, steps: readonly Step[], known: Set<number>): void {
  message.push(level, steps.length)
  for (const { statement, values, rows } of steps) {
    message.push(statement.number, known.has(statement.number) ? null : statement.sql, rows ?? null, values.length)
    for (let index = 0; index < values.length; index += 1) message.push(values[index]!)
    if (statement.number >= 0) known.add(statement.number)
  }
}

/** Appends every command of a message to `commands`; remembers the statements' texts in `texts`. */
export function readCommands(message: Message, texts: Map<number, string>, commands: Command[]): void {
  let at = 0
  while (at < message.length) {
    const level = message[at++] as Level
    const steps: SentStep[] = []
    for (let left = message[at++] as number; left > 0; left--) {
      const [number, text, rows, count] = message.slice(at, at + 4) as [number, string | null, number | null, number]
      if (text !== null) texts.set(number, text)
      steps.push({ number, sql: texts.get(number)!, rows, values: message.slice(at + 4, at + 4 + count) })
      at += 4 + count
    }
    commands.push({ level, steps })
  }
}
