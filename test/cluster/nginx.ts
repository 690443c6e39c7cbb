import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from '../world.ts'
import { steadyPort } from './steady-port.ts'

/** nginx before some gateways, configured as docs/nodes.md tells an operator to. */
export interface Nginx extends AsyncDisposable {
  readonly url: string
  /** What it complained of so far. */
  complaints(): string
}

/** Debian puts it where only root's PATH leads. */
const program = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'].map(folder => join(folder, 'nginx')).find(isProgram)

/** Why there can be none, in a sentence; undefined when there can. */
export const missingNginx: string | undefined =
  program === undefined ? 'no nginx on PATH or in /usr/sbin; "apt-get install nginx-light" brings it' : undefined

/** `gateways` are host:port. */
export async function startNginx(gateways: readonly string[]): Promise<Nginx> {
  await using scope = new AsyncDisposableStack()
  const folder = mkdtempSync(join(tmpdir(), 'headgate-nginx-'))
  scope.defer(() => rmSync(folder, { recursive: true, force: true }))
  const port = await steadyPort()
  writeFileSync(join(folder, 'nginx.conf'), whole(folder, documented(gateways, port)))
  const log = join(folder, 'error.log')
  const child = spawn(program!, ['-p', folder, '-e', log, '-c', join(folder, 'nginx.conf')], { stdio: 'ignore' })
  scope.defer(() => end(child))
  const complaints = () => readFileSync(log, 'utf8')
  await until(() => {
    if (child.exitCode !== null) throw new Error(`nginx does not start:\n${complaints()}`)
    return answers(port)
  }, 'nginx does not listen')
  const rest = scope.move()
  return { url: `http://127.0.0.1:${port}`, complaints, [Symbol.asyncDispose]: () => rest.disposeAsync() }
}

const page = fileURLToPath(new URL('../../docs/nodes.md', import.meta.url))

/** What the page says, but for the addresses. Throws when it says that no more. */
function documented(gateways: readonly string[], port: number): string {
  const said = /^```nginx\n(.*?)^```$/ms.exec(readFileSync(page, 'utf8'))?.[1] ?? ''
  const servers = said.match(/^ *server [\d.]+:8080.*\n/gm) ?? []
  if (servers.length === 0 || !said.includes('listen 80;'))
    throw new Error('docs/nodes.md has no nginx block with servers and "listen 80;"')
  const ours = gateways.map(gateway => servers[0]!.replace(/[\d.]+:8080/, gateway)).join('')
  return said.replace(servers.join(''), ours).replace('listen 80;', `listen 127.0.0.1:${port};`)
}

/** One process, so that ending it ends all of it. */
function whole(folder: string, http: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${folder}/${name};`)
  return `daemon off;
master_process off;
pid ${folder}/pid;
events { worker_connections 8192; }
http {
access_log off;
${temporary.join('\n')}
${http}
}
`
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.kill('SIGTERM')
  await ended
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    const over = (isUp: boolean) => {
      socket.destroy()
      resolve(isUp)
    }
    socket.once('connect', () => over(true))
    socket.once('error', () => over(false))
  })
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // Not there, or not for us.
  }
}
