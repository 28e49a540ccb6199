namespace LongCtx.Engine.Models;

/// <param name="Path">What <see cref="ModelSource.Open"/> takes: a .gguf file or a directory.</param>
/// <param name="Bundled">Came with LongCtx, in contrast to one found under LONGCTX_MODELS.</param>
public sealed record CatalogModel(string Name, string Path, bool Bundled);

/// <summary>
/// Finds models by name. Each folder below a models directory is one: named after the folder, a Hugging Face directory or one with a
/// single .gguf file; a .gguf file directly in it is named after itself.
/// </summary>
public sealed class ModelCatalog
{
    public const string DirectoriesVariable = "LONGCTX_MODELS";

    public ModelCatalog(IEnumerable<string> bundledDirectories, IEnumerable<string> localDirectories)
    {
        HashSet<string> names = new(StringComparer.OrdinalIgnoreCase);
        List<CatalogModel> models = [];
        foreach (string directory in localDirectories) Add(directory, bundled: false);
        foreach (string directory in bundledDirectories) Add(directory, bundled: true);
        Models = [.. models.OrderByDescending(m => m.Bundled).ThenBy(m => m.Name, StringComparer.Ordinal)];

        // The first of a name wins, so a local model can replace a bundled one.
        void Add(string directory, bool bundled)
        {
            foreach ((string name, string path) in ModelsIn(directory))
                if (names.Add(name)) models.Add(new(name, path, bundled));
        }
    }

    public IReadOnlyList<CatalogModel> Models { get; }

    /// <summary>
    /// Local: the directories of LONGCTX_MODELS. Bundled: the nearest 'models' directory with a model in it, at or above the executable,
    /// otherwise at or above the current directory.
    /// </summary>
    public static ModelCatalog Default()
    {
        string[] local = (Environment.GetEnvironmentVariable(DirectoriesVariable) ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        string? bundled = FindAbove(AppContext.BaseDirectory) ?? FindAbove(Environment.CurrentDirectory);
        return new(bundled is null ? [] : [bundled], local);
    }

    /// <summary>A known name, or a path to a file or directory: what <see cref="ModelSource.Open"/> takes.</summary>
    public string Resolve(string nameOrPath)
    {
        CatalogModel? model = Models.FirstOrDefault(m => string.Equals(m.Name, nameOrPath, StringComparison.OrdinalIgnoreCase));
        if (model is not null) return model.Path;
        if (File.Exists(nameOrPath)) return nameOrPath;
        if (Directory.Exists(nameOrPath)) return SingleGguf(nameOrPath) ?? nameOrPath;
        string known = Models.Count == 0
            ? $"no models were found; set {DirectoriesVariable} to a directory that holds some"
            : "known models: " + string.Join(", ", Models.Select(m => m.Name));
        throw new LongCtxException(ErrorCode.ModelNotFound, $"There is no model, file or directory '{nameOrPath}'; {known}", parameter: "model");
    }

    /// <summary>The name under which a resolved path is served.</summary>
    public string NameOf(string path)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        return Models.FirstOrDefault(m => Path.GetFullPath(m.Path) == full)?.Name
            ?? (File.Exists(full) ? Path.GetFileNameWithoutExtension(full) : Path.GetFileName(full));
    }

    static IEnumerable<(string Name, string Path)> ModelsIn(string directory)
    {
        if (!Directory.Exists(directory)) yield break;
        foreach (string file in Entries(directory, Directory.GetFiles))
            if (IsGguf(file)) yield return (Path.GetFileNameWithoutExtension(file), file);
        foreach (string folder in Entries(directory, Directory.GetDirectories))
        {
            string? path = File.Exists(Path.Combine(folder, "config.json")) ? folder : SingleGguf(folder);
            if (path is not null) yield return (Path.GetFileName(folder), path);
        }
    }

    /// <summary>The .gguf file of a directory that is not a Hugging Face one and has exactly one.</summary>
    static string? SingleGguf(string directory)
    {
        if (File.Exists(Path.Combine(directory, "config.json"))) return null;
        string[] files = [.. Entries(directory, Directory.GetFiles).Where(IsGguf)];
        return files.Length == 1 ? files[0] : null;
    }

    static bool IsGguf(string file) => file.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase);

    /// <summary>A directory that may not be read holds no models.</summary>
    static string[] Entries(string directory, Func<string, string[]> list)
    {
        try
        {
            string[] entries = list(directory);
            Array.Sort(entries, StringComparer.Ordinal);
            return entries;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    static string? FindAbove(string start)
    {
        for (DirectoryInfo? d = new(start); d is not null; d = d.Parent)
        {
            string candidate = Path.Combine(d.FullName, "models");
            if (ModelsIn(candidate).Any()) return candidate;
        }

        return null;
    }
}
