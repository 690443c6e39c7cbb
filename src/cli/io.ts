import { styleText } from 'node:util'

/** Where a command reads and writes; the tests have one of their own. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  readonly colour: boolean
  /** Milliseconds since 1970. */
  nowMs(): number
  out(text: string): void
  err(text: string): void
  stdin(): Promise<string>
}

/** What the gateway tells about one thing. Names and shapes are the admin API's. */
export type Item = Readonly<Record<string, unknown>>

export interface Column {
  readonly title: string
  readonly of: (item: Item) => unknown
  /** Numbers stand at the right, so that their digits line up. */
  readonly right?: boolean
}

/** 0 done, 1 it failed or differs, 2 wrongly asked: nothing was done. */
export type ExitCode = 0 | 1 | 2

/** Ends a command with one sentence for the person who gave it. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly exitCode: ExitCode
  /** What the gateway found wrong with what was sent, each at its place. */
  readonly problems: readonly Problem[]

  constructor(message: string, exitCode: ExitCode = 1, problems: readonly Problem[] = []) {
    super(message)
    this.exitCode = exitCode
    this.problems = problems
  }
}

export interface Problem {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** Wrongly asked: says what would be right. */
export function wrong(message: string): Failure {
  return new Failure(message, 2)
}

export function printJson(terminal: Terminal, value: unknown): void {
  terminal.out(`${JSON.stringify(value, null, 2)}\n`)
}

export function printLine(terminal: Terminal, sentence: string): void {
  terminal.out(`${sentence}\n`)
}

/** A table with a title line, or `none` when there are no rows. */
export function printTable(terminal: Terminal, columns: readonly Column[], items: readonly Item[], none = 'There are none.'): void {
  if (items.length === 0) {
    printLine(terminal, none)
    return
  }
  const rows = items.map(item => columns.map(column => cell(column.of(item))))
  const widths = columns.map((column, at) => Math.max(column.title.length, ...rows.map(row => widthOf(row[at]!))))
  const line = (texts: readonly string[]) =>
    texts
      .map((text, at) =>
        columns[at]!.right ? text.padStart(widths[at]! - widthOf(text) + text.length) : text + ' '.repeat(widths[at]! - widthOf(text)),
      )
      .join('  ')
      .trimEnd()
  printLine(terminal, dim(terminal, line(columns.map(column => column.title))))
  for (const row of rows) printLine(terminal, line(row))
}

/** One thing, a field a line. */
export function printFields(terminal: Terminal, fields: readonly (readonly [string, unknown])[]): void {
  const width = Math.max(...fields.map(([title]) => title.length))
  for (const [title, value] of fields) printLine(terminal, `${dim(terminal, title.padEnd(width))}  ${cell(value)}`.trimEnd())
}

/** One thing with all that the gateway tells about it, in its order; a list of things is only counted. */
export function printItem(terminal: Terminal, item: Item): void {
  printFields(
    terminal,
    Object.entries(item).map(([name, value]) => [words(name), value]),
  )
}

/** Any value on one line. Control characters from elsewhere, and those that turn the order of letters, never reach a terminal. */
export function cell(value: unknown): string {
  if (value === null || value === undefined || value === '') return '–'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value)) return value.length === 0 ? '–' : value.map(cell).join(', ')
  if (typeof value === 'object') {
    const pairs = Object.entries(value).map(([name, one]) => `${plain(name)}=${cell(one)}`)
    return pairs.length === 0 ? '–' : pairs.join(', ')
  }
  return plain(String(value))
}

/** A list of things within what the gateway told. */
export function itemsOf(value: unknown): readonly Item[] {
  return Array.isArray(value) ? value : []
}

export function dim(terminal: Terminal, text: string): string {
  return terminal.colour ? styleText('dim', text, { validateStream: false }) : text
}

/** This program's own input and output. A reader that went away (`| head`) is no failure. */
export function systemTerminal(env: Terminal['env']): Terminal {
  process.stdout.on('error', error => {
    if ('code' in error && error.code === 'EPIPE') process.exit(0)
    throw error
  })
  return {
    env,
    cwd: process.cwd(),
    colour: process.stdout.isTTY === true && !env.NO_COLOR,
    nowMs: Date.now,
    out: text => void process.stdout.write(text),
    err: text => void process.stderr.write(text),
    stdin: readStdin,
  }
}

const stdinBytesMax = 16_777_216

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of process.stdin) {
    bytes += chunk.length
    if (bytes > stdinBytesMax) throw wrong(`More than ${stdinBytesMax} bytes came on standard input.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** requestsPerMinute → "requests per minute" */
function words(name: string): string {
  return name.replace(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)
}

function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: They are what must not pass.
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, ' ')
}

/** Letters, not code units; wide letters are rare in what we print. */
function widthOf(text: string): number {
  return [...text].length
}
