import type { Terminal } from './io.ts'
import { run } from './main.ts'

export interface Said {
  readonly code: number
  readonly out: string
  readonly err: string
}

export interface Around {
  readonly env?: Terminal['env']
  readonly cwd?: string
  readonly stdin?: string
  readonly nowMs?: number
}

/** Runs one command line in this process, and says what it said. */
export async function said(argv: readonly string[], { env = {}, cwd = '/', stdin = '', nowMs = 0 }: Around): Promise<Said> {
  let out = ''
  let err = ''
  const terminal: Terminal = {
    env,
    cwd,
    colour: false,
    nowMs: () => nowMs,
    out: text => void (out += text),
    err: text => void (err += text),
    stdin: async () => stdin,
  }
  const code = await run(argv, '1.2.3', terminal)
  return { code, out, err }
}
