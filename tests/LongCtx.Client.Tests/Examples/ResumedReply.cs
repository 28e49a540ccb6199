using Microsoft.Extensions.AI;

namespace LongCtx.Client.Tests.Examples;

/// <summary>
/// A reply that outlives whoever asked for it: the token goes to a file, and any process reads on from there. The turn has a name, so that one
/// that was asked for before there was a token is not asked for twice.
/// </summary>
public static class ResumedReply
{
    public static async Task ReadAsync(IChatClient chat, string turnId, string question, string tokenFile, TextWriter output, CancellationToken cancellation)
    {
        ChatOptions options = new() { AllowBackgroundResponses = true, MaxOutputTokens = 200, AdditionalProperties = new() { ["turn_id"] = turnId } };
        if (File.Exists(tokenFile)) options.ContinuationToken = ResponseContinuationToken.FromBytes(await File.ReadAllBytesAsync(tokenFile, cancellation));
        ChatMessage[] messages = options.ContinuationToken is null ? [new("user", question)] : [];
        await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync(messages.Select(m => new Microsoft.Extensions.AI.ChatMessage(new(m.Role), m.Content)), options, cancellation))
        {
            await output.WriteAsync(update.Text);
            if (update.ContinuationToken is { } token)
            {
                await File.WriteAllBytesAsync(tokenFile + ".new", token.ToBytes().ToArray(), cancellation);
                File.Move(tokenFile + ".new", tokenFile, overwrite: true); // the old token or the new one, never half of one
            }
            else
            {
                File.Delete(tokenFile); // the last update: there is nothing to come back to
            }
        }
    }
}
