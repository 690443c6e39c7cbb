import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, chownSync, constants, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'

/**
 * A PostgreSQL server of the test's own, from the binaries that Debian installs: in a folder of its own, on a socket in that folder, gone with
 * the test. PostgreSQL does not run as root; root starts it as `postgres`, or as `nobody`.
 */
export interface Cluster extends AsyncDisposable {
  /** Books that nobody else uses: a schema of that name, made when it is missing. */
  url(schema: string): string
  /** Of the server itself, as its administrator. */
  readonly adminUrl: string
  /** Ends every connection and stops; what was acknowledged is there after `start`. */
  stop(): Promise<void>
  /** As a power cut ends it, but for what the machine had not written yet: that is what the server alone had in memory. */
  kill(): Promise<void>
  start(): Promise<void>
  /** Stops it as a machine does that hangs: connections stay, and nothing is answered. */
  freeze(): void
  thaw(): void
}

/** Why there can be none, in a sentence; undefined when there can. */
export const missingPostgres: string | undefined = whatIsMissing()

export async function startCluster(): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-pg-'))
  const owner = ownerOf()
  if (owner.uid !== undefined) chownSync(folder, owner.uid, owner.gid!)
  const data = join(folder, 'data')
  const options = ['-D', data, '-U', 'headgate', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync', '--no-instructions']
  execFileSync(join(binaries()!, 'initdb'), options, { ...owner, stdio: 'pipe' })
  let running: Running | undefined = await run(folder, data, owner)
  const adminUrl = `postgres://headgate@localhost/postgres?host=${encodeURIComponent(folder)}`

  return {
    adminUrl,
    url: schema => `${adminUrl}&options=${encodeURIComponent(`-c search_path=${schema}`)}`,
    async stop() {
      await running?.end('SIGINT')
      running = undefined
    },
    async kill() {
      await running?.kill()
      running = undefined
    },
    async start() {
      running ??= await run(folder, data, owner)
    },
    freeze: () => running?.signalAll('SIGSTOP'),
    thaw: () => running?.signalAll('SIGCONT'),
    async [Symbol.asyncDispose]() {
      running?.signalAll('SIGCONT')
      await running?.end('SIGQUIT')
      running = undefined
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

interface Running {
  end(signal: NodeJS.Signals): Promise<void>
  kill(): Promise<void>
  signalAll(signal: NodeJS.Signals): void
}

interface Owner {
  readonly uid?: number
  readonly gid?: number
}

/** Ends the server also when this process is killed: then nobody holds the other end of its input. */
const leash = '"$0" "$@" & server=$!; echo "server $server" >&2; cat >/dev/null; kill -QUIT $server; wait $server'

async function run(folder: string, data: string, owner: Owner): Promise<Running> {
  const settings = ['listen_addresses=', `unix_socket_directories=${folder}`, 'max_connections=200', 'lc_messages=C']
  const flags = ['-D', data, ...settings.flatMap(setting => ['-c', setting])]
  const child = spawn('sh', ['-c', leash, join(binaries()!, 'postgres'), ...flags], {
    ...owner,
    cwd: folder,
    stdio: ['pipe', 'ignore', 'pipe'],
  })
  const pid = await readyPid(child)
  child.stderr!.resume()
  const ended = once(child, 'exit')
  const signalAll = (signal: NodeJS.Signals) => {
    for (const one of [pid, ...childrenOf(pid)]) kill(one, signal)
  }
  const letGo = async () => {
    child.stdin!.end()
    await ended
  }
  return {
    signalAll,
    async end(signal) {
      process.kill(pid, signal)
      await letGo()
    },
    async kill() {
      // Nobody may see that the others are gone, and tidy up.
      signalAll('SIGSTOP')
      signalAll('SIGKILL')
      await letGo()
    },
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}

async function readyPid(child: ChildProcess): Promise<number> {
  const said: string[] = []
  let pid = 0
  for await (const line of createInterface({ input: child.stderr! })) {
    said.push(line)
    pid = Number(/^server (\d+)$/.exec(line)?.[1] ?? pid)
    if (line.includes('ready to accept connections')) return pid
  }
  throw new Error(`PostgreSQL does not start:\n${said.join('\n')}`)
}

function childrenOf(pid: number): number[] {
  return globSync('/proc/[0-9]*/stat').flatMap(path => {
    try {
      const [id, parent] = /^(\d+) \(.*\) \S (\d+)/.exec(readFileSync(path, 'utf8'))!.slice(1).map(Number)
      return parent === pid ? [id!] : []
    } catch {
      return [] // It has ended meanwhile.
    }
  })
}

function whatIsMissing(): string | undefined {
  if (binaries() === undefined)
    return 'no initdb and postgres on PATH or in /usr/lib/postgresql/*/bin; "apt-get install postgresql" brings them'
  try {
    ownerOf()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}

/** The newest, where there are several. */
function binaries(): string | undefined {
  const installed = globSync('/usr/lib/postgresql/*/bin').sort((a, b) => Number(b.split('/')[4]) - Number(a.split('/')[4]))
  return [...installed, ...(process.env['PATH'] ?? '').split(delimiter)].find(
    folder => isProgram(folder, 'initdb') && isProgram(folder, 'postgres'),
  )
}

function isProgram(folder: string, name: string): boolean {
  try {
    accessSync(join(folder, name), constants.X_OK)
    return true
  } catch {
    return false // Not there, or not for us.
  }
}

function ownerOf(): Owner {
  if (process.getuid?.() !== 0) return {}
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map(line => line.split(':'))
  const found = ['postgres', 'nobody'].flatMap(name => users.filter(([user]) => user === name))[0]
  if (found === undefined) throw new Error('PostgreSQL does not run as root, and there is no user "postgres" or "nobody"')
  return { uid: Number(found[2]), gid: Number(found[3]) }
}
