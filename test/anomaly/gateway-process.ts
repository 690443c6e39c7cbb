import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type SettingName, variableOf } from '../../src/config/settings.ts'

/** The program itself, in a process of its own. */
export interface GatewayProcess extends AsyncDisposable {
  readonly url: string
  readonly child: ChildProcess
  /** Its exit code; null when a signal ended it. */
  readonly exit: Promise<number | null>
  /** What it has written so far. */
  readonly output: () => string
  /** Seconds of CPU that all its threads have used. */
  cpuSeconds(): number
  memoryBytes(): number
}

const program = fileURLToPath(new URL('../../bin/headgate.mjs', import.meta.url))

/**
 * Starts `headgate serve` on a data folder, at any free port; `through` is a command that runs it. Rejects with what it said when it
 * ends instead of listening.
 */
export async function startGateway(
  folder: string,
  settings: Partial<Record<SettingName, string | number>> = {},
  through: readonly string[] = [],
): Promise<GatewayProcess> {
  const env: NodeJS.ProcessEnv = { PATH: process.env.PATH, HEADGATE_LISTEN: '127.0.0.1:0', HEADGATE_LOG_LEVEL: 'silent' }
  for (const [name, value] of Object.entries({ ...settings, data: folder })) env[variableOf(name as SettingName)] = String(value)
  const [command = process.execPath, ...argv] = [...through, process.execPath, program, 'serve']
  const child = spawn(command, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const exit = once(child, 'exit').then(([code]) => code as number | null)
  const url = await new Promise<string>((resolve, reject) => {
    const hear = (text: Buffer) => {
      output += text.toString()
      const said = /listens at (http:\S+)/.exec(output)?.[1]
      if (said !== undefined) resolve(said)
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.once('close', code => reject(new Error(`the gateway ended with ${code}: ${output}`)))
  })
  return {
    url,
    child,
    exit,
    output: () => output,
    cpuSeconds: () => cpuSecondsOf(child.pid!),
    memoryBytes: () => memoryBytesOf(child.pid!),
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exit
    },
  }
}

/** A command of `headgate` against a running gateway, told its address and where its admin token is. Never rejects. */
export function runCommand(
  { url }: Pick<GatewayProcess, 'url'>,
  folder: string,
  ...argv: readonly string[]
): Promise<{ readonly code: number | null; readonly out: string; readonly err: string }> {
  const env = { PATH: process.env.PATH, HEADGATE_URL: url, HEADGATE_DATA: folder }
  return new Promise(resolve => {
    const child = execFile(process.execPath, [program, ...argv], { env }, (_, out, err) => resolve({ code: child.exitCode, out, err }))
  })
}

const ticksPerSecond = 100

function cpuSecondsOf(pid: number): number {
  // The name in parentheses may hold blanks; user and system time are the 12th and 13th after it.
  const fields = readFileSync(join('/proc', String(pid), 'stat'), 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

function memoryBytesOf(pid: number): number {
  const status = readFileSync(join('/proc', String(pid), 'status'), 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1024
}
