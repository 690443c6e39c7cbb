import type { Command, CommanderError } from 'commander'
import { didYouMean } from '../config/nearest.ts'
import { flagOf, settingNames } from '../config/settings.ts'
import { exampleOf } from './verb.ts'

/** The command that a command line names, as far as it can be followed. */
export function commandOf(program: Command, argv: readonly string[]): Command {
  let command = program
  for (const word of argv) {
    const next = command.commands.find(one => one.name() === word)
    if (next === undefined) return command
    command = next
  }
  return command
}

/** What is wrong with a command line and what would be right, in one sentence. */
export function sentenceOf(error: CommanderError, command: Command): string {
  const name = nameOf(command)
  const quoted = /'([^']*)'/.exec(error.message)?.[1] ?? ''
  switch (error.code) {
    case 'commander.unknownCommand':
      return `${name} has no command "${quoted}"${didYouMean(quoted, verbsOf(command))} ${verbList(command)}`
    case 'commander.help':
      return `${name} needs a command after it. ${verbList(command)}`
    case 'commander.unknownOption':
      return `${name} has no option ${quoted}${didYouMean(quoted, optionsOf(command))}${asIn(command)}`
    case 'commander.missingArgument':
      return `${name} needs <${quoted}>.${asIn(command)}`
    case 'commander.missingMandatoryOptionValue':
      return `${name} needs ${quoted}.${asIn(command)}`
    case 'commander.optionMissingArgument':
      return `${name}: ${quoted.split(' ')[0]} needs a value after it.${asIn(command)}`
    case 'commander.excessArguments':
      return `${name} takes ${command.registeredArguments.length === 0 ? 'no argument' : command.registeredArguments.map(one => `<${one.name()}>`).join(' ')} and nothing more.${asIn(command)}`
    case 'commander.invalidArgument':
      return `${name}: ${invalidSentence(error.message)}`
    default:
      return `${name}: ${error.message.replace(/^error: /, '').replaceAll('\n', ' ')}`
  }
}

/** "--multiplier is "abc"; it takes a decimal number", from commander's own way to say it. */
function invalidSentence(message: string): string {
  const match = /(?:option '([^']*)' argument|value) '(.*)' is invalid(?: for argument '([^']*)')?\. (.*)$/s.exec(message)
  if (match === null) return message.replace(/^error: /, '')
  const [, flags, value = '', argument, takes = ''] = match
  const what = flags === undefined ? `<${argument}>` : (/--[\w-]+/.exec(flags)?.[0] ?? flags)
  return `${what} is ${JSON.stringify(value)}; ${takes[0]?.toLowerCase() ?? ''}${takes.slice(1)}`
}

function nameOf(command: Command): string {
  return command.parent === null ? command.name() : `${nameOf(command.parent)} ${command.name()}`
}

function verbsOf(command: Command): string[] {
  return command.commands.map(one => one.name())
}

function verbList(command: Command): string {
  return `It has ${verbsOf(command).join(', ')}.`
}

/** Its own options, and the settings, which are flags of every command. */
function optionsOf(command: Command): string[] {
  const own = command.options.flatMap(option => option.long ?? [])
  return [...own, '--help', ...settingNames.map(flagOf)]
}

function asIn(command: Command): string {
  const example = exampleOf(command)
  return example === undefined ? '' : ` As in: ${example}`
}
