import { Command, CommanderError } from 'commander'
import { type Config, ConfigError, environment, readConfig, takeFlags } from '../config.ts'
import { accountCommand } from './account.ts'
import { applyCommand } from './apply.ts'
import { type Api, connectApi } from './client.ts'
import { codeCommand } from './code.ts'
import { configCommand } from './config.ts'
import { databaseCommands } from './database.ts'
import { groupCommand } from './group.ts'
import { type ExitCode, Failure, systemTerminal, type Terminal } from './io.ts'
import { keyCommand } from './key.ts'
import { ledgerCommand } from './ledger.ts'
import { commandOf, sentenceOf } from './mistakes.ts'
import { priceCommand } from './price.ts'
import { reconcileCommand } from './reconcile.ts'
import { serveCommand } from './serve.ts'
import { statusCommand } from './status.ts'
import { subscriptionCommand } from './subscription.ts'
import { usageCommand } from './usage.ts'
import { userCommand } from './user.ts'
import type { Cli } from './verb.ts'
import { walletCommand } from './wallet.ts'

/** The program `headgate`. Sets the exit code instead of leaving, so that what is being written gets out. */
export async function main({ version }: { version: string }): Promise<void> {
  process.exitCode = await run(process.argv.slice(2), version, systemTerminal(environment()))
}

/** Runs one command line. Everything that can be wrong with it is told on `terminal.err`, a sentence each. */
export async function run(argv: readonly string[], version: string, terminal: Terminal): Promise<ExitCode> {
  const { flags, rest } = takeFlags(argv)
  let config: Config | undefined
  let api: Api | undefined
  const cli: Cli = {
    terminal,
    config: () => (config ??= readConfig({ env: terminal.env, flags, cwd: terminal.cwd })),
    api: () => (api ??= connectApi(cli.config().settings)),
  }
  const program = programOf(cli, version)
  try {
    await program.parseAsync(rest, { from: 'user' })
    return 0
  } catch (error) {
    return report(error, commandOf(program, rest), terminal)
  }
}

function programOf(cli: Cli, version: string): Command {
  const { terminal } = cli
  const program = new Command('headgate')
  program
    .description('A gateway that shares a pool of OpenAI accounts among many people, and books exactly what each call cost.')
    .version(version, '--version', 'print the version')
    .helpCommand(false)
    .exitOverride()
    .showSuggestionAfterError(false)
    // Mistakes are told once, in one sentence, by `report`.
    .configureOutput({ writeOut: text => terminal.out(text), writeErr: () => {} })
  program.addHelpText('after', closing)
  const nouns = [serveCommand, configCommand, applyCommand, statusCommand, groupCommand, accountCommand, userCommand, keyCommand]
  const money = [
    walletCommand,
    priceCommand,
    subscriptionCommand,
    codeCommand,
    usageCommand,
    ledgerCommand,
    reconcileCommand,
    databaseCommands,
  ]
  for (const add of [...nouns, ...money]) add(program, cli)
  return program
}

const closing = `
Every setting is a flag of every command, such as --url or --data; \`headgate config show\` lists them all.
Commands that ask a gateway find it by HEADGATE_URL and show it HEADGATE_ADMIN_TOKEN, else the token in its data folder.

Examples:
  headgate serve
  headgate apply -f setup.yaml
  headgate key add --user dev@example.com --group default --name laptop`

/** Tells what went wrong. What is neither a mistake nor a failure that was expected is a bug, and shows where it is. */
function report(error: unknown, command: Command, terminal: Terminal): ExitCode {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0
    terminal.err(`${sentenceOf(error, command)}\n`)
    return 2
  }
  if (error instanceof ConfigError) {
    for (const problem of error.problems) terminal.err(`${problem}\n`)
    return 2
  }
  if (error instanceof Failure) {
    terminal.err(`${error.message}\n`)
    return error.exitCode
  }
  terminal.err(`headgate ended unexpectedly: ${error instanceof Error ? error.stack : String(error)}\n`)
  return 1
}
