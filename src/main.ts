import { resolve } from 'node:path'
import { getRequestListener } from '@hono/node-server'
import { openAdmin } from './admin/api.ts'
import { readAdminToken } from './admin/token.ts'
import type { Config } from './config.ts'
import { giveFirstPrices } from './directory/first-prices.ts'
import { type Headgate, type OpenAdmin, openHeadgate } from './headgate.ts'
import { openLog } from './lib/log.ts'
import { openPool } from './pool.ts'
import { version } from './version.ts'

/** A gateway with its control plane. */
export interface Served extends Headgate {
  readonly adminToken: string
}

/** Opens everything. Rejects with a sentence for the operator. */
export async function open({ settings }: Config): Promise<Served> {
  surviveBrokenPipes()
  const log = openLog(settings.logLevel)
  let adminToken = ''
  const admin: OpenAdmin = ({ database, gateway, seal, nodes }) => {
    const { directory, ledger, clock } = gateway
    const { token } = readAdminToken({ adminTokenText: settings.adminToken, folder: settings.data })
    adminToken = token
    const pool = openPool(gateway, nodes)
    const wrote = (line: object) => log.info(line, 'admin')
    const failed = (error: Error, where: string) => log.error({ err: error, where }, 'the admin API failed')
    const api = openAdmin({ database, directory, ledger, seal, clock, pool, token, version, log: { wrote, failed } })
    return getRequestListener(request => api.fetch(request))
  }
  const headgate = await openHeadgate(settings, log, admin, { prepareBooks: giveFirstPrices })
  return { ...headgate, adminToken }
}

/** `headgate serve`: runs until it is told to stop, and then stops without losing anything. */
export async function serve(config: Config): Promise<void> {
  const headgate = await open(config)
  const stopped = untilToldToStop(headgate) // Before anybody is told that it listens, and may tell it to stop.
  const { data, databaseUrl } = config.settings
  const books = databaseUrl === null ? 'everything' : 'its books in PostgreSQL and all else'
  say(`Headgate listens at ${headgate.url} and keeps ${books} in ${resolve(data)}.`)
  if (headgate.gateway.directory.snapshot().accounts.size === 0) say(firstSteps(config, headgate.url))
  await stopped
}

/** The first signal stops in order; a second one means that somebody has no patience for that. */
export async function untilToldToStop(headgate: Headgate): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let isStopping = false
    const stop = () => {
      if (isStopping) process.exit(1)
      isStopping = true
      const running = headgate.serving.calls.count
      // Timers do not keep the program alive, and by the end of stopping nothing else does.
      const alive = setInterval(() => {}, 60_000)
      say(running === 0 ? 'Stopping. Once more stops at once.' : `Stopping: ${running} calls may finish. Once more stops at once.`)
      headgate
        .stop()
        .then(resolve, reject)
        .finally(() => clearInterval(alive))
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}

/** For a person, who may have closed the pipe: a gateway goes on all the same. */
export function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Ctrl-C ends `| tee` first. What nobody reads any more must not keep a gateway from stopping in order. */
function surviveBrokenPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error')
    stream.on('error', () => {})
  }
}

function firstSteps({ settings, sources }: Config, url: string): string {
  const elsewhere = [
    ...(sources.listen.from === 'default' ? [] : [`  export HEADGATE_URL="${url}"`]),
    ...(settings.adminToken === null ? [] : ['  export HEADGATE_ADMIN_TOKEN=…    # as this gateway has it']),
    ...(settings.adminToken !== null || sources.data.from === 'default'
      ? []
      : [`  export HEADGATE_DATA="${settings.data}"    # where the admin token is`]),
    '  export OPENAI_API_KEY=…',
  ].join('\n')
  return `
It is empty, but for OpenAI's public prices. In another terminal, make a file setup.yaml:

  groups:   [{name: default}]
  accounts: [{name: openai, groups: [default], baseUrl: "https://api.openai.com/v1", apiKey: {env: OPENAI_API_KEY}}]
  users:    [{email: you@example.com, concurrency: 5}]

and then (in a checkout "npx headgate", installed "headgate"):

${elsewhere}
  npx headgate apply -f setup.yaml
  npx headgate wallet credit you@example.com 5.00 --reason "first month"
  npx headgate key add --user you@example.com --group default --name laptop    # prints the key, once
`
}
