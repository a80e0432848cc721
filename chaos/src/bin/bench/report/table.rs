//! A table for people: Markdown, and aligned so that it reads well on a terminal too.

/// Rows of as many cells as there are columns.
pub(crate) struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new(columns: &[&'static str]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: Vec<String>) {
        assert_eq!(
            row.len(),
            self.columns.len(),
            "a row has a cell for each column"
        );
        self.rows.push(row);
    }

    /// Prints it to stdout.
    pub(crate) fn print(&self) {
        let width = |index: usize, column: &str| {
            let cells = self.rows.iter().map(|row| row[index].chars().count());
            cells.chain([column.chars().count()]).max().unwrap_or(0)
        };
        let columns = self.columns.iter().enumerate();
        let widths: Vec<usize> = columns
            .map(|(index, column)| width(index, column))
            .collect();
        let line = |cells: Vec<&str>| {
            let cells = cells.iter().zip(&widths);
            let padded: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:>width$}"))
                .collect();
            println!("| {} |", padded.join(" | "));
        };
        line(self.columns.clone());
        let rules: Vec<String> = widths
            .iter()
            .map(|width| format!("{}:", "-".repeat(width - 1)))
            .collect();
        line(rules.iter().map(String::as_str).collect());
        for row in &self.rows {
            line(row.iter().map(String::as_str).collect());
        }
    }
}
