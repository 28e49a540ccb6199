using LongCtx.Conversations.Local;
using Spectre.Console;

namespace LongCtx.Cli.Chat;

/// <summary>Reads messages, shows replies. On a terminal with a prompt and a status line; in a pipe, one message a line and nothing but replies.</summary>
internal sealed class ChatLoop(Terminal terminal, IChatSession chat, bool asJson)
{
    const string Exit = "/exit", Adapter = "/adapter",
        Commands = $"{Exit} or Ctrl+D leaves, Ctrl+C stops a reply, {Adapter} tells what the conversation has learned from its own text.";

    /// <summary>Of a message that was said before, in characters: its end is what the next one answers.</summary>
    const int ShownMax = 1000;

    sealed record Reply(string Text, string FinishReason, int PromptTokens, int CachedTokens, int CompletionTokens, int EvictedTokens, WindowState Window, double TokensPerSecond);

    bool IsDecorated => terminal.IsInteractive && !asJson;

    public async Task<int> RunAsync(CancellationToken program)
    {
        if (IsDecorated) Dim(Commands);
        await BeginAsync(program);
        while (await ReadMessageAsync(program) is { } message)
        {
            if (message.Trim() == Exit) break;
            if (string.IsNullOrWhiteSpace(message)) continue;
            if (IsDecorated && message.TrimEnd() is "/help" or "/quit" or "/?")
            {
                Dim(Commands);
                continue;
            }
            try
            {
                if (IsDecorated && message.TrimEnd() == Adapter)
                {
                    Dim(await chat.FindAdapterAsync(program) is { } adapter ? AdapterText.Summary(adapter) : "this chat lives in this process alone and does not learn: --adapt begins one that does");
                    continue;
                }
                CompletionFinished? finished = await ShowAsync(stop => chat.SendAsync(message, stop), program);
                if (finished?.Reason != FinishReason.Length || finished.Usage.CompletionTokens == chat.MaxTokens) continue;
                if (finished.Usage.Window.Capacity > 0 || finished.Usage.CompletionTokens == LocalHostOptions.ReplyTokensDefault)
                    terminal.Note($"the reply was cut after {finished.Usage.CompletionTokens} tokens: tell it to go on, or allow more with --max-tokens");
                else
                    terminal.Note("the window is full and nothing may leave it under this policy: start again with --policy endless for a conversation without end");
            }
            catch (LongCtxException refusal) when (IsDecorated && refusal.Code != ErrorCode.EngineFailure)
            {
                terminal.Note(refusal.Message.ReplaceLineEndings(" ")); // the message was not taken; another one may be
            }
        }

        return App.Success;
    }

    /// <summary>Shows what was said before. A reply that is still being given ends first: only then may a message follow. In a pipe it is not one of the replies.</summary>
    async Task BeginAsync(CancellationToken program)
    {
        ChatBeginning beginning = await chat.BeginAsync(program);
        if (IsDecorated)
        {
            foreach (ChatMessage message in beginning.Said.Where(m => m.Content.Length > 0)) Dim($"{message.Role}: {EndOf(message.Content)}");
        }
        if (beginning.Reply is not { } reply) return;
        try
        {
            if (IsDecorated)
            {
                await ShowAsync(reply, program);
                return;
            }
            terminal.Note("a reply is still being given in this conversation: waiting for its end");
            await foreach (CompletionEvent _ in reply(program))
            {
                // only its end matters
            }
        }
        catch (LongCtxException failure)
        {
            terminal.Note(failure.Message.ReplaceLineEndings(" ")); // the conversation goes on behind it
        }
    }

    static string EndOf(string text)
    {
        if (text.Length <= ShownMax) return text;
        int start = text.Length - ShownMax;
        return "… " + text[(char.IsLowSurrogate(text[start]) ? start + 1 : start)..];
    }

    /// <summary>A line, or null at the end of the input. On a terminal Ctrl+C at the empty prompt asks once, and leaves the second time.</summary>
    async Task<string?> ReadMessageAsync(CancellationToken program)
    {
        program.ThrowIfCancellationRequested();
        if (!terminal.IsInteractive) return await terminal.Input.ReadLineAsync(program);

        if (IsDecorated) terminal.Console!.Markup("[bold]>[/] ");
        using var leave = new CancellationTokenSource();
        int presses = 0;
        using IDisposable capture = terminal.Interrupt.Capture(() =>
        {
            if (Interlocked.Increment(ref presses) > 1) leave.Cancel();
            else if (IsDecorated) Dim("\nCtrl+C again leaves.");
        });
        // The console cannot be read asynchronously: the read is abandoned with the process when the user leaves.
        Task<string?> line = Task.Run(terminal.Input.ReadLine, CancellationToken.None);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(leave.Token, program);
        try
        {
            return await line.WaitAsync(either.Token);
        }
        catch (OperationCanceledException) when (leave.IsCancellationRequested)
        {
            return null;
        }
    }

    /// <summary>Writes a reply as it comes. Null when the user stopped it.</summary>
    async Task<CompletionFinished?> ShowAsync(Func<CancellationToken, IAsyncEnumerable<CompletionEvent>> reply, CancellationToken program)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(program);
        using IDisposable? capture = terminal.IsInteractive ? terminal.Interrupt.Capture(stop.Cancel) : null;
        var text = new System.Text.StringBuilder();
        CompletionStarted? started = null;
        CompletionFinished? finished = null;
        WindowState window = default;
        try
        {
            await foreach (CompletionEvent e in reply(stop.Token))
            {
                switch (e)
                {
                    case CompletionStarted s:
                        started = s;
                        break;
                    case CompletionDelta delta:
                        window = delta.Window;
                        text.Append(delta.Text);
                        if (asJson) break;
                        terminal.Output.Write(delta.Text);
                        terminal.Output.Flush();
                        break;
                    case CompletionFinished f:
                        finished = f;
                        break;
                }
            }
        }
        catch (OperationCanceledException) when (!program.IsCancellationRequested)
        {
            // The user stopped this reply; the conversation goes on.
        }

        if (asJson) WriteJson(text.ToString(), started, finished, window);
        else terminal.Output.WriteLine();
        if (IsDecorated) Dim(finished is null ? $"stopped · {WindowText(window)}" : StatusText(finished));
        return finished;
    }

    void WriteJson(string text, CompletionStarted? started, CompletionFinished? finished, WindowState window) => terminal.WriteJson(new Reply(
        text, (finished?.Reason ?? FinishReason.Cancelled).ToString().ToLowerInvariant(),
        finished?.Usage.PromptTokens ?? started?.PromptTokens ?? 0, finished?.Usage.CachedTokens ?? started?.CachedTokens ?? 0, finished?.Usage.CompletionTokens ?? 0, finished?.Usage.EvictedTokens ?? 0,
        finished?.Usage.Window ?? window, finished is null ? 0 : Speed(finished.Usage)));

    internal static string StatusText(CompletionFinished finished)
    {
        string speed = FormattableString.Invariant($"{Speed(finished.Usage):F1} tokens/s");
        string cut = finished.Reason == FinishReason.Length ? " · cut short" : "";
        return $"{speed} · {WindowText(finished.Usage.Window)}{cut}";
    }

    /// <summary>"window 812 of 4096 (20 %) · nothing has left it", or how many tokens have.</summary>
    internal static string WindowText(WindowState window)
    {
        string fill = window.Capacity == 0
            ? FormattableString.Invariant($"window {window.Visible}, unlimited")
            : FormattableString.Invariant($"window {window.Visible} of {window.Capacity} ({100.0 * window.Visible / window.Capacity:F0} %)");
        string left = window.Evicted == 0 ? "nothing has left it" : FormattableString.Invariant($"{window.Evicted} of {window.Total} tokens have left it");
        return $"{fill} · {left}";
    }

    /// <summary>The first token comes with the prompt; the others are what decoding takes time for.</summary>
    static double Speed(Usage usage) => usage.DecodeSeconds > 0 ? (usage.CompletionTokens - 1) / usage.DecodeSeconds : 0;

    void Dim(string line) => terminal.Console!.MarkupLine($"[dim]{Markup.Escape(line)}[/]");
}
