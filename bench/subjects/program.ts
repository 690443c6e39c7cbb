import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { openSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { pinned } from '../cores.ts'

/** A program that was started for the benchmark, and is stopped with it. */
export interface Program extends AsyncDisposable {
  readonly pid: number
  /** Sends SIGTERM and resolves when it has ended. */
  stop(): Promise<void>
}

export interface Command {
  readonly core: number
  readonly words: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** The file that takes what it says. A pipe would have to be read by somebody, on somebody's core. */
  readonly log: string
}

const startWithinMs = 30_000

/** Resolves when something listens at the port. Rejects with what the program said when it ends before. */
export async function startProgram({ core, words, env = {}, log }: Command, port: number): Promise<Program> {
  const [first, ...rest] = [...pinned(core), ...words]
  const output = openSync(log, 'a')
  const child = spawn(first!, rest, { stdio: ['ignore', output, output], env: { PATH: String(process.env['PATH']), ...env } })
  // Interrupted, the benchmark takes with it what it started.
  const abandoned = () => void child.kill('SIGKILL')
  process.once('exit', abandoned)
  child.once('exit', () => process.off('exit', abandoned))
  const deadlineMs = performance.now() + startWithinMs
  while (!(await listens(port))) {
    if (child.exitCode !== null) throw new Error(`${words.join(' ')} ended: ${readFileSync(log, 'utf8').slice(-2000)}`)
    if (performance.now() > deadlineMs) throw new Error(`${words.join(' ')} does not listen after ${startWithinMs / 1000} s`)
    await pause(20)
  }
  return { pid: child.pid!, stop: () => stop(child), [Symbol.asyncDispose]: () => stop(child) }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => end(true))
    const end = (does: boolean) => {
      socket.destroy()
      resolve(does)
    }
    socket.once('error', () => end(false))
  })
}

/** Whether a program can be run, asked for its version. */
export function isThere(program: string, versionFlag: string): boolean {
  return spawnSync(program, [versionFlag]).status === 0
}

export function childrenOf(pid: number): number[] {
  const found = spawnSync('ps', ['-o', 'pid=', '--ppid', String(pid)], { encoding: 'utf8' }).stdout
  return found.trim().split(/\s+/).filter(Boolean).map(Number)
}

/** Nobody listens there now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  if (address === null || typeof address === 'string') throw new Error('a listening socket has a port')
  return address.port
}
