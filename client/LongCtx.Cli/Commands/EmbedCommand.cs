using System.CommandLine;
using LongCtx.Cli.Options;
using LongCtx.Engine.Scheduling;

namespace LongCtx.Cli.Commands;

internal static class EmbedCommand
{
    sealed record Report(string Model, int Tokens, bool Truncated, float[] Embedding);

    public static Command Create(Terminal terminal)
    {
        Option<string> model = Common.Model(Common.DefaultEncoder);
        var text = new Option<string?>("--text") { Description = "The text itself.", HelpName = "T" };
        var file = new Option<string?>("--file") { Description = "A file with the text, UTF-8.", HelpName = "F" };
        Option<int> threads = Common.Threads();
        Option<bool> json = Common.Json();
        var command = new Command("embed", "Embedding of a text: a vector of length 1.") { model, text, file, threads, json };
        command.RequireOne(text, file);
        command.SetAction(async (result, cancellation) =>
        {
            string content = result.GetValue(text) ?? TextFile.Read(result.GetValue(file)!);
            await using var engine = new InferenceEngine(new EngineOptions { Threads = result.GetValue(threads) });
            EncoderModel encoder = await ModelFiles.LoadEncoderAsync(engine, result.GetValue(model)!);
            (int[] ids, bool truncated) = Encode(encoder, content);
            float[] vector = (await engine.EmbedAsync(encoder, [ids]))[0];
            if (truncated) terminal.Warn($"the text is longer than the {ids.Length} tokens the model takes: the rest was not embedded");
            if (result.GetValue(json)) terminal.WriteJson(new Report(encoder.Name, ids.Length, truncated, vector));
            else terminal.Output.WriteLine(string.Join(' ', vector.Select(x => Text.Of(x))));
            return App.Success;
        });
        return command;
    }

    /// <summary>What the model takes of a text: the beginning, and the closing token.</summary>
    static (int[] Ids, bool Truncated) Encode(EncoderModel encoder, string text)
    {
        int[] ids = encoder.Tokenizer.Encode(text, addSpecial: true);
        int most = encoder.Config.MaximumLength;
        return ids.Length <= most ? (ids, false) : ([.. ids[..(most - 1)], ids[^1]], true);
    }
}
