using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace LongCtx.Conversations.Local;

/// <summary>Refuses commands that say nothing sensible, and hashes what makes two of them the same.</summary>
internal static class Commands
{
    public static string Validate(SubmitTurn command)
    {
        if (command.TurnId.Length is 0 or > 256) throw Refusals.Invalid($"a turn id has 1 to 256 characters, not {command.TurnId.Length}", "turn_id");
        if (command.Options.MaxTokens < 1) throw Refusals.Invalid($"max_tokens = {command.Options.MaxTokens} must be at least 1", "max_tokens");
        if (command.Options.Stop.Contains("")) throw Refusals.Invalid("a stop text must not be empty", "stop");
        command.Options.Sampling.Validate();
        return HashOf(new(command.Messages, command.Options));
    }

    public static string Validate(AppendInput command)
    {
        if (command.Messages.Count == 0) throw Refusals.Invalid("there is nothing to append: give at least one message", "items");
        if (command.Producer is not null && command.Number < 1) throw Refusals.Invalid($"a producer counts its pieces from 1 on, not from {command.Number}", "number");
        return HashOf(new(command.Messages, null));
    }

    static string HashOf(TurnPayload payload) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(payload, CommandJson.Default.TurnPayload))));
}
