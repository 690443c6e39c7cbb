import { AssertionError } from 'node:assert'
import type { Command } from 'commander'
import { flagOf, type SettingName, settingOf, table } from '../config/settings.ts'
import type { Config } from '../config.ts'
import { Failure } from './io.ts'
import type { Cli } from './verb.ts'

/** `serve` and `demo`: the gateway itself. Loaded only then, so that the other commands start at once. */
export function serveCommand(program: Command, cli: Cli): void {
  program
    .command('serve')
    .description('Run the gateway until it is told to stop')
    .addHelpText('after', settingsHelp)
    .addHelpText('after', '\nExample:\n  headgate serve --listen 0.0.0.0:8080 --data /var/lib/headgate')
    .action(async () => {
      const config = cli.config()
      const { serve } = await import('../main.ts')
      await running(serve(config), config)
    })
  program
    .command('demo')
    .description('Run a gateway with a scripted upstream, a user, a key and credit, to look around')
    .addHelpText('after', '\nExample:\n  headgate demo')
    .action(async () => {
      const config = cli.config()
      const { demo } = await import('../demo.ts')
      await running(demo(config), config)
    })
}

/** What the gateway rejects with when it cannot start is a sentence for the operator; what JavaScript throws by itself is a bug. */
export async function running<T>(gateway: Promise<T>, { settings }: Config): Promise<T> {
  try {
    return await gateway
  } catch (error) {
    if (!(error instanceof Error) || isBug(error)) throw error
    if ('code' in error && error.code === 'EADDRINUSE')
      throw new Failure(`${addressText(settings)} is taken by another program; set HEADGATE_LISTEN to another address.`)
    throw new Failure(error.message)
  }
}

function isBug(error: Error): boolean {
  return [TypeError, RangeError, ReferenceError, SyntaxError, AssertionError].some(kind => error instanceof kind)
}

function addressText({ listen }: Config['settings']): string {
  return table.listen.show(listen) ?? ''
}

const shown: readonly SettingName[] = ['listen', 'data', 'config', 'logLevel', 'trustedProxies']

const settingsHelp = `
Settings that most people need:
${shown.map(name => `  ${flagOf(name).padEnd(18)} ${settingOf(name).about}`).join('\n')}
All others: \`headgate config show\`.`
