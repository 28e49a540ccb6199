using System.CommandLine;
using LongCtx.Cli.Options;
using LongCtx.Engine.Cache;
using LongCtx.Engine.Files;
using LongCtx.Engine.Models;
using LongCtx.Engine.Templates;
using LongCtx.Engine.Tokenization;

namespace LongCtx.Cli.Commands;

internal static class ModelsCommand
{
    const double Million = 1e6;
    const double Mebibyte = 1 << 20;

    /// <param name="Policy">S,W,G,C,B that a conversation gets by default; absent for an encoder.</param>
    /// <param name="Problem">Why the model cannot be used; then the other fields are absent.</param>
    sealed record Row(
        string Name, bool Bundled, string Path, string? Kind = null, string? Architecture = null, long? Parameters = null, string? Quantization = null,
        int? TrainedLength = null, long? FileBytes = null, string? Policy = null, string? Problem = null);

    sealed record Report(IReadOnlyList<Row> Models);

    public static Command Create(Terminal terminal)
    {
        Option<bool> json = Common.Json();
        var command = new Command("models", $"Bundled models, and those in the directories of {ModelCatalog.DirectoriesVariable}.") { json };
        command.SetAction(result =>
        {
            Row[] rows = [.. ModelCatalog.Default().Models.Select(Describe)];
            if (result.GetValue(json)) terminal.WriteJson(new Report(rows));
            else Print(terminal, rows);
            return App.Success;
        });
        return command;
    }

    static Row Describe(CatalogModel model)
    {
        var row = new Row(model.Name, model.Bundled, model.Path);
        try
        {
            using ModelSource source = ModelSource.Open(model.Path);
            int trained = source.Decoder?.TrainedLength ?? source.Encoder!.MaximumLength;
            return row with
            {
                Kind = source.Decoder is null ? "encoder" : "decoder",
                Architecture = source.Architecture,
                Parameters = source.ParameterCount,
                Quantization = source.Quantization,
                TrainedLength = trained,
                FileBytes = SizeOf(model.Path),
                Policy = source.Decoder is null ? null : new PolicyOptions().Resolve(trained, new DecoderFiles(source).SystemTokens()).ToString(),
            };
        }
        catch (Exception problem) when (problem is ModelFileException or TokenizerException or ChatTemplateException or LongCtxException or IOException or UnauthorizedAccessException)
        {
            return row with { Problem = problem.Message };
        }
    }

    /// <summary>The weights: the file itself, or all weight files of a directory.</summary>
    static long SizeOf(string path) => File.Exists(path)
        ? new FileInfo(path).Length
        : new DirectoryInfo(path).EnumerateFiles("*.safetensors").Sum(f => f.Length);

    static void Print(Terminal terminal, Row[] rows)
    {
        terminal.Table(["name", "family", "size", "type", "length", "file", "S,W,G,C,B"], rows.Select(r => (string[])
        [
            r.Bundled ? r.Name : r.Name + " (local)", r.Architecture ?? "", r.Parameters is { } n ? Text.Of(n / Million, "F1") + "M" : "", r.Quantization ?? "",
            r.TrainedLength is { } length ? Text.Of(length) : "", r.FileBytes is { } bytes ? Text.Of(bytes / Mebibyte, "F0") + " MB" : "",
            r.Policy ?? r.Kind ?? "unusable",
        ]));
        foreach (Row row in rows.Where(r => r.Problem is not null)) terminal.Warn($"{row.Name}: {row.Problem}");
    }
}
