import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** A file system of its own, small enough to be filled. */
export interface SmallDisk extends AsyncDisposable {
  /** Where the programs that entered it find it. */
  readonly path: string
  /** Where everybody else finds its files. SQLite does not: it resolves the link. */
  readonly outside: string
  /** The command before the command of a program that is to enter. */
  readonly enter: readonly string[]
  /** Leaves no room at all, for nobody. */
  fill(): void
  makeRoom(): void
  /** Only while nobody has a file of it open for writing. */
  makeReadOnly(): Promise<void>
  /** Makes one file of it read-only, by its name within, and leaves the rest as it is. */
  protect(file: string): Promise<void>
}

/** Root may mount in a name space of its own; others as the root of one, where the system lets them. */
const ways: readonly Way[] = [
  { unshare: ['-m'], enter: ['-m'] },
  { unshare: ['-rm'], enter: ['-U', '-m', '--preserve-credentials'] },
]

/** Flags of the two programs. */
interface Way {
  readonly unshare: readonly string[]
  readonly enter: readonly string[]
}

/**
 * Mounts it where only the process that holds it sees it, and whoever enters: so it is gone when those end, however our own process
 * does. Resolves with the reason when the system lets nobody mount.
 */
export async function openSmallDisk(mebibytes: number): Promise<SmallDisk | string> {
  let reason = ''
  for (const way of ways) {
    const mounted = await mount(way, mebibytes)
    if (typeof mounted !== 'string') return mounted
    reason = mounted
  }
  return `a file system cannot be mounted here: ${reason}`
}

async function mount(way: Way, mebibytes: number): Promise<SmallDisk | string> {
  const folder = mkdtempSync(join(tmpdir(), 'headgate-disk-'))
  const holder = spawn('unshare', [...way.unshare, 'sh'], { stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = once(holder, 'close').catch(error => [String(error)])
  const ask = commands(holder)
  const outside = join('/proc', String(holder.pid), 'root', folder)
  async function close(): Promise<void> {
    holder.stdin.end()
    await ended
    rmSync(folder, { recursive: true, force: true })
  }
  const said = await ask(`mount -t tmpfs -o size=${mebibytes}m tmpfs ${folder}`)
  if (said !== '' || !existsSync(outside)) {
    await close()
    return said
  }
  async function must(command: string): Promise<void> {
    const refused = await ask(command)
    if (refused !== '') throw new Error(refused)
  }
  const filler = join(outside, 'filler')
  return {
    path: folder,
    outside,
    enter: ['nsenter', '-t', String(holder.pid), ...way.enter],
    fill: () => fill(filler),
    makeRoom: () => rmSync(filler),
    makeReadOnly: () => must(`mount -o remount,ro ${folder}`),
    protect: file => must(`mount --bind ${folder}/${file} ${folder}/${file} && mount -o remount,bind,ro ${folder}/${file}`),
    [Symbol.asyncDispose]: close,
  }
}

/** Runs commands in the holder, one after the other. Each resolves with what it complained of, empty when it is done. */
function commands(holder: ChildProcess): (command: string) => Promise<string> {
  const { stdin, stdout, stderr } = holder
  let said: string[] = []
  let answered = Promise.withResolvers<void>()
  createInterface({ input: stdout! }).on('line', line => {
    if (line === endMark) answered.resolve()
    else said.push(line)
  })
  holder.on('error', error => said.push(error.message))
  createInterface({ input: stderr! }).on('line', line => said.push(line))
  stderr!.on('close', () => answered.resolve()) // The name space was refused, and nobody is there to answer.
  stdin!.on('error', () => {}) // As before.
  return async command => {
    said = []
    answered = Promise.withResolvers()
    stdin!.write(`{ ${command}; } 2>&1; echo ${endMark}\n`)
    await answered.promise
    return said.join(' ')
  }
}

const endMark = '== that was it'

function fill(path: string): void {
  const file = openSync(path, 'a')
  try {
    for (let bytes = 64 * 1024; bytes >= 1; ) {
      try {
        writeSync(file, Buffer.alloc(bytes))
      } catch {
        bytes = Math.floor(bytes / 2) // There is room for less, or for none.
      }
    }
  } finally {
    closeSync(file)
  }
}
