import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from 'vitest'
import { until } from './world.ts'

/** A real Redis of the test's own, that keeps nothing. */
export interface RedisServer extends AsyncDisposable {
  readonly url: string
  /** It stands still: connections stay, nobody is answered. */
  pause(): void
  resume(): void
  /** It is gone at once, and everything it knew. */
  kill(): Promise<void>
  /** At the same address, empty. */
  start(): Promise<void>
}

const programs = ['redis-server', 'valkey-server']

/** Undefined where there is none; then the tests that need one are left out, and `why` says so. */
export const redisProgram = programs.find(isThere)
export const whyNoRedis = `neither ${programs.join(' nor ')} is on the PATH (Debian: apt-get install redis-server)`

/** Tests that need a Redis. They are left out, and say why, where there is none. */
export function onRedis(name: string, tests: () => void): void {
  const isLeftOut = redisProgram === undefined
  describe.skipIf(isLeftOut)(isLeftOut ? `${name}, left out: ${whyNoRedis}` : name, tests)
}

/** As one node that has all of a cluster's places, it refuses whatever a cluster would refuse. */
export async function startRedis(as: 'itself' | 'a cluster' = 'itself'): Promise<RedisServer> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'headgate-redis-'))
  let running: ChildProcess | undefined

  async function start(): Promise<void> {
    const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder]
    if (as === 'a cluster') settings.push('--cluster-enabled', 'yes', '--cluster-port', String(await freePort()))
    running = spawn(redisProgram!, settings, { stdio: 'ignore' })
    await until(() => answers(port, 'PING', '+PONG'), 'Redis does not start')
    if (as === 'itself') return
    await answers(port, 'CLUSTER ADDSLOTSRANGE 0 16383', '+OK')
    await until(() => answers(port, 'CLUSTER INFO', 'cluster_state:ok'), 'the cluster does not form')
  }

  async function kill(): Promise<void> {
    const was = running
    running = undefined
    if (was === undefined || was.exitCode !== null) return
    const ended = once(was, 'exit')
    was.kill('SIGKILL')
    await ended
  }

  await start()
  return {
    url: `redis://127.0.0.1:${port}`,
    pause: () => void running?.kill('SIGSTOP'),
    resume: () => void running?.kill('SIGCONT'),
    kill,
    start,
    async [Symbol.asyncDispose]() {
      await kill()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function isThere(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
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

/** Whether it says so to a command. */
function answers(port: number, command: string, wanted: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${command}\r\n`))
    const end = (isSo: boolean) => {
      socket.destroy()
      resolve(isSo)
    }
    socket.once('data', answer => end(String(answer).includes(wanted)))
    socket.once('error', () => end(false))
  })
}
